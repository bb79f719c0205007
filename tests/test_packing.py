"""Packed linear maps answer as plain ones do and stay out of the way of training."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from torch import nn

from lune.packing import pack_linears, unpack_linears


@pytest.fixture
def network() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(24, 40), nn.ReLU(), nn.Linear(40, 16, bias=False)).requires_grad_(False)


@pytest.mark.parametrize("shape", [(1, 24), (7, 24), (3, 5, 24), (200, 24)])
def test_packed_maps_give_what_plain_ones_give(network: nn.Sequential, shape: tuple[int, ...]) -> None:
    inputs = torch.randn(shape)
    expected = network(inputs)
    pack_linears(network)
    with torch.no_grad():
        assert "forward" in network[0].__dict__
        torch.testing.assert_close(network(inputs), expected, rtol=1e-5, atol=1e-5)


def test_gradients_flow_through_packed_maps(network: nn.Sequential) -> None:
    pack_linears(network)
    inputs = torch.randn(2, 24, requires_grad=True)
    network(inputs).sum().backward()
    assert inputs.grad is not None
    assert inputs.grad.abs().sum() > 0


def test_a_map_that_trains_again_takes_the_plain_path_and_follows_its_weights(network: nn.Sequential) -> None:
    pack_linears(network)
    first, inputs = network[0], torch.ones(2, 24)
    first.weight.requires_grad_(True)
    result = first(inputs)
    (gradient,) = torch.autograd.grad(result.sum(), [first.weight])
    torch.testing.assert_close(gradient, torch.full_like(gradient, 2.0))


def test_a_copy_that_is_unpacked_follows_its_own_weights(network: nn.Sequential) -> None:
    pack_linears(network)
    twin = copy.deepcopy(network)
    unpack_linears(twin)
    for parameter in twin.parameters():
        parameter.data.zero_()
    with torch.no_grad():
        assert not twin(torch.ones(1, 24)).any()
        assert network(torch.ones(1, 24)).any()


def test_maps_that_are_trained_or_not_float32_are_left_alone() -> None:
    network = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 4).to(torch.bfloat16).requires_grad_(False))
    pack_linears(network)
    assert all("forward" not in module.__dict__ for module in network)


class Lacking:
    """torch's operators of oneDNN without one of them, or with one that fails."""

    def __init__(self, name: str, error: type[Exception]) -> None:
        self.name, self.error, self.plain = name, error, torch.ops.mkldnn

    def __getattr__(self, name: str) -> Any:
        if name != self.name:
            return getattr(self.plain, name)
        if self.error is AttributeError:
            raise AttributeError(name)

        def fails(*_: object) -> None:
            raise self.error("no such kernel")

        return fails


@pytest.mark.parametrize("name", ["_reorder_linear_weight", "_linear_pointwise"])
@pytest.mark.parametrize("error", [AttributeError, RuntimeError])
def test_without_the_kernels_everything_stays_plain(
    network: nn.Sequential, monkeypatch: pytest.MonkeyPatch, name: str, error: type[Exception]
) -> None:
    monkeypatch.setattr(torch.ops, "mkldnn", Lacking(name, error))
    pack_linears(network)
    with torch.no_grad():
        assert network(torch.ones(1, 24)).shape == (1, 16)
    assert all("forward" not in module.__dict__ for module in network)
