"""What this machine is and what it does fast: device, dtype, memory."""

from __future__ import annotations

import ctypes
import os
import platform
import resource
import sys
from dataclasses import asdict, dataclass

import psutil
import torch

from lune.errors import ConfigError

BFLOAT16_MACOS = 14
"""First macOS whose GPU kernels compute in bfloat16."""
_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3  # names of malloc.h
_LARGEST_KEPT, _LARGEST_KEPT_BEFORE = 2**30, 2**25


@dataclass(frozen=True)
class Hardware:
    """The machine of a run, as stored in run.json."""

    cpu: str
    cores: int
    memory_gb: float
    device: str
    dtype: str

    def as_dict(self) -> dict[str, str | int | float]:
        """Return the fields as a JSON-ready mapping."""
        return asdict(self)

    def in_words(self) -> str:
        """Return one line for the terminal, such as ``"Apple M2, 16 GB, mps, bfloat16"``."""
        return f"{self.cpu}, {self.cores} cores, {self.memory_gb:.0f} GB · {self.device}, {self.dtype}"


def pick_device(wanted: str) -> torch.device:
    """Return the device to compute on: CUDA, then MPS, then the CPU, unless one is named.

    Raises:
        ConfigError: When the one that is named is not on this machine, or torch was built without it.
    """
    if wanted != "auto":
        if wanted.partition(":")[0] not in (here := _devices()):
            raise ConfigError(f"There is no {wanted} device here; available: {', '.join(here)}.", hint="--device auto")
        return torch.device(wanted)
    if torch.cuda.is_available():
        return torch.device("cuda")
    if torch.backends.mps.is_available():
        return torch.device("mps")
    return torch.device("cpu")


def _devices() -> list[str]:
    """Return the kinds of device that torch can compute on here."""
    there = {"cpu": True, "cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    return [name for name, usable in there.items() if usable]


def pick_dtype(wanted: str, device: torch.device) -> torch.dtype:
    """Return the precision the device does fast: bfloat16 where it has instructions for it, else float32.

    float16 is used on older CUDA cards only, which have no bfloat16.
    """
    if wanted != "auto":
        return {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}[wanted]
    if device.type == "cuda":
        return torch.bfloat16 if torch.cuda.is_bf16_supported() else torch.float16
    if device.type == "mps":
        return torch.bfloat16 if int(platform.mac_ver()[0].split(".")[0] or 0) >= BFLOAT16_MACOS else torch.float32
    capabilities = torch.cpu.get_capabilities()
    return torch.bfloat16 if capabilities.get("avx512_bf16") or capabilities.get("amx_bf16") else torch.float32


def pick_evaluation_dtype(wanted: str, training: torch.dtype, device: torch.device, parameters: int) -> torch.dtype:
    """Return the precision in which answers are taken.

    Greedy answers of a small model in bfloat16 change with the batch they are computed in. On a CPU, where there
    is memory for it, answers are therefore taken in float32, which also is what loading the model in plain code gives.

    Args:
        wanted: The ``dtype`` setting; what is named explicitly holds for answers too.
        training: The precision to train in.
        device: Where to compute.
        parameters: Number of the model's weights.
    """
    both = parameters * (4 + training.itemsize)
    fits = both < psutil.virtual_memory().total / 2
    return torch.float32 if wanted == "auto" and device.type == "cpu" and fits else training


def describe(device: torch.device, dtype: torch.dtype) -> Hardware:
    """Return the machine's name, cores and memory with the device and dtype in use."""
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else _cpu_name()
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    memory = psutil.virtual_memory().total / 2**30
    return Hardware(name, cores, round(memory, 1), device.type, str(dtype).removeprefix("torch."))


def _cpu_name() -> str:
    name = str(torch.cpu.get_capabilities().get("cpu_name", ""))
    return " ".join((name or platform.processor() or platform.machine()).split())


def keep_freed_memory() -> None:
    """Let the C library keep what is freed for the next allocation, where that can be told: glibc.

    By default it hands large blocks back to the system and gets them anew, page by page, for every batch.
    """
    if platform.libc_ver()[0] == "glibc":
        libc = ctypes.CDLL(None)
        # Older ones (before about 2.35) refuse more than 32 MB; the trim threshold alone would make matters worse.
        if any(libc.mallopt(_MMAP_THRESHOLD, size) for size in (_LARGEST_KEPT, _LARGEST_KEPT_BEFORE)):
            libc.mallopt(_TRIM_THRESHOLD, _LARGEST_KEPT)


def peak_memory_mb(device: torch.device) -> float:
    """Return the most memory used so far in MB: torch's peak on CUDA, the resident set elsewhere."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 2**20
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    # Linux counts in KiB, macOS in bytes.
    return peak / 2**20 if sys.platform == "darwin" else peak / 2**10
