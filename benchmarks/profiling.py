"""Where the time goes: the share of each kind of operation, and how near all of it comes to the machine's peak.

Training steps of this project's arms, and its answering. The peak is measured in the same process: the best of several
products of two square matrices, in the precision of what is profiled.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch.profiler import ProfilerActivity, profile

from benchmarks.answering import prompts_of
from benchmarks.arms import Row, settings_of, train, without_dev
from benchmarks.material import Material
from benchmarks.measures import take_first_steps
from benchmarks.plan import ANSWERING, BATCH, STEP_PASSES
from lune.hardware import pick_dtype
from lune.models import LoadedModel

KINDS: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("matrix products", ("mm", "addmm", "bmm", "baddbmm", "_linear_pointwise", "mkldnn_linear", "linear", "matmul")),
    ("attention", ("_scaled_dot_product", "_softmax", "_softmax_backward_data")),
    ("probabilities", ("_log_softmax", "_log_softmax_backward_data", "logsumexp", "exp", "max", "amax", "argmax")),
    ("copies and casts", ("copy_", "cat", "index", "index_select", "gather", "scatter", "clone", "_to_copy", "fill_")),
    ("optimiser", ("_fused_adamw_", "_foreach", "linalg_vector_norm")),
)
"""Kinds of operations by the beginnings of their names; all others are ``element by element and the rest``."""
SHORT = 4
"""Names no longer than this are meant as they stand: many others begin so."""
REST = "element by element and the rest"
PEAK_SIZE, PEAK_TRIES = 2048, 8


def kind_of(operation: str) -> str:
    """Return the kind of an operation of torch, such as ``aten::mm``."""
    name = operation.rpartition("::")[2]
    for kind, beginnings in KINDS:
        if any(name == each or (len(each) > SHORT and name.startswith(each)) for each in beginnings):
            return kind
    return REST


def shares(events: Iterable[Any]) -> tuple[dict[str, float], float]:
    """Return each kind's share of the operations' own time, and that time in seconds."""
    seconds: dict[str, float] = dict.fromkeys([*(kind for kind, _ in KINDS), REST], 0.0)
    for event in events:
        if "::" in event.key:
            seconds[kind_of(event.key)] += event.self_cpu_time_total / 1e6
    total = sum(seconds.values())
    return {kind: each / total for kind, each in seconds.items()}, total


def peak_flops(dtype: torch.dtype) -> float:
    """Return the floating-point operations a second of the best of several large matrix products."""
    left, right = (torch.randn(PEAK_SIZE, PEAK_SIZE).to(dtype) for _ in range(2))
    best = float("inf")
    for _ in range(PEAK_TRIES):
        began = time.perf_counter()
        left @ right
        best = min(best, time.perf_counter() - began)
    return float(2 * PEAK_SIZE**3 / best)


def packed_peak_flops() -> float:
    """Return the same in float32 through the packed kernels that answers use, of a shape that they meet."""
    from lune.packing import pack_linears

    rows, width = 512, 1536
    network = torch.nn.Sequential(torch.nn.Linear(width, width, bias=False)).requires_grad_(False)
    pack_linears(network)
    inputs, best = torch.randn(rows, width), float("inf")
    with torch.no_grad():
        for _ in range(5 * PEAK_TRIES):
            began = time.perf_counter()
            network(inputs)
            best = min(best, time.perf_counter() - began)
    return float(2 * rows * width**2 / best)


def measure(arm: str, model: LoadedModel, material: Material, probes: int) -> dict[str, Any]:
    """Profile the steps of the last pass of an arm, or with ``answering`` the answers to test probes."""
    if arm == ANSWERING:
        prompts = prompts_of(material.request, probes)
        model.answer(prompts[:BATCH], whole=True)
        counted = _Counted(model)
        with profile(activities=[ProfilerActivity.CPU]) as profiler:
            began = time.perf_counter()
            model.answer(prompts, whole=True)
            seconds = time.perf_counter() - began
        return _told(profiler, seconds, counted.stop(), packed_peak_flops(), "float32")
    settings = settings_of(arm, passes=STEP_PASSES, batch_size=BATCH, release=0.0, early_stop=False)
    held = material.step_anchors if settings.anchor_weight else []
    made = replace(material.request.made, negatives=material.step_negatives)
    prepared = replace(without_dev(material.request), made=made, anchors=held)
    last = _LastPass(len(made.negatives) // BATCH)
    take_first_steps()
    train(model, prepared, settings, last.update)
    precision = pick_dtype(settings.dtype, model.device)
    told = _told(last.profiler, last.seconds, None, peak_flops(precision), str(precision).removeprefix("torch."))
    return {**told, "steps": last.steps - 1}


class _LastPass:
    """Profiles from the first step of the last pass to its last one, as the loop's rows tell them."""

    def __init__(self, steps: int) -> None:
        self.steps = steps
        self.profiler = profile(activities=[ProfilerActivity.CPU], with_flops=True)
        self.seconds = 0.0
        self._done = 0

    def update(self, row: Row) -> None:
        if "loss" not in row or int(row["pass"]) < STEP_PASSES:
            return
        self._done += 1
        if self._done == 1:
            self.profiler.start()
            self._began = time.perf_counter()
        elif self._done == self.steps:
            self.seconds = time.perf_counter() - self._began
            self.profiler.stop()


class _Counted:
    """Counts the floating-point operations of a model's linear maps, by their inputs; attention is not counted."""

    def __init__(self, model: LoadedModel) -> None:
        self._total = 0
        linears = [module for module in model.model.modules() if isinstance(module, torch.nn.Linear)]
        self._handles = [module.register_forward_pre_hook(self._count) for module in linears]

    def _count(self, module: torch.nn.Module, inputs: tuple[torch.Tensor, ...]) -> None:
        weight: Any = module.weight
        self._total += 2 * inputs[0].numel() * len(weight)

    def stop(self) -> int:
        for handle in self._handles:
            handle.remove()
        return self._total


def _told(profiler: Any, seconds: float, flops: int | None, peak: float, dtype: str) -> dict[str, Any]:
    events: Sequence[Any] = profiler.key_averages()
    kinds, inside = shares(events)
    done = sum(event.flops or 0 for event in events) if flops is None else flops
    return {
        "seconds": seconds,
        "seconds_in_operations": inside,
        "shares": kinds,
        "flops_per_s": done / seconds,
        "peak_flops_per_s": peak,
        "share_of_peak": done / seconds / peak,
        "dtype": dtype,
    }
