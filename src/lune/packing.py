"""Frozen float32 linear maps packed for oneDNN, for answering on a CPU.

torch gives float32 matrix products to MKL, which runs at less than half of the speed of oneDNN's packed kernels on the
AMD processors it was measured on (docs/architecture.md). The results are float32 like MKL's, with another order of
summation. Packing keeps a second copy of the weights.
"""

from __future__ import annotations

import psutil
import torch
from torch import nn

PACKED_ROWS = 128
"""Rows the layout is chosen for; others work as well."""


def pack_linears(model: nn.Module) -> None:
    """Make every frozen float32 linear map of ``model`` answer by oneDNN, in place, where that is possible.

    Nothing changes for gradients: what needs one takes the plain path. Where torch has no such kernels nothing is
    packed.
    """
    linears = [module for module in model.modules() if type(module) is nn.Linear and _packable(module)]
    needed = sum(module.weight.numel() * 4 for module in linears)
    if needed > psutil.virtual_memory().available / 2 or not _kernels_work():
        return
    for module in linears:
        _pack(module)


def unpack_linears(model: nn.Module) -> None:
    """Undo ``pack_linears``, as a copy of the model must before its weights change."""
    for module in model.modules():
        if type(module) is nn.Linear:
            module.__dict__.pop("forward", None)


def _packable(module: nn.Linear) -> bool:
    weight = module.weight
    return weight.device.type == "cpu" and weight.dtype == torch.float32 and not weight.requires_grad


def _kernels_work() -> bool:
    """Return whether a small packed map answers as the plain one: the kernels are torch's own, not its public API."""
    if not torch.backends.mkldnn.is_available():  # type: ignore[no-untyped-call]
        return False
    small = nn.Linear(2, 3)
    inputs = torch.ones(1, 2)
    with torch.no_grad():
        expected = small(inputs)
        try:
            _pack(small)
            return torch.allclose(small(inputs), expected, atol=1e-5)
        except (AttributeError, RuntimeError, TypeError, NotImplementedError):
            return False


def _pack(module: nn.Linear) -> None:
    packed = torch.ops.mkldnn._reorder_linear_weight(module.weight.detach(), PACKED_ROWS)
    plain = type(module).forward

    def forward(inputs: torch.Tensor) -> torch.Tensor:
        if torch.is_grad_enabled() and (inputs.requires_grad or module.weight.requires_grad):
            return plain(module, inputs)
        result: torch.Tensor = torch.ops.mkldnn._linear_pointwise(inputs, packed, module.bias, "none", [], "")
        return result

    module.__dict__["forward"] = forward
