"""Reading PyTorch's ``.pt`` archives that hold plain objects and no tensors, without running what is in them.

A pickle can name any function and have it called. Here only the few names that such data need are known, each mapped
to something harmless; a file with any other is refused.
"""

from __future__ import annotations

import io
import pickle
import zipfile
import zlib
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from lune.errors import RequestError

MAX_BYTES = 64_000_000  # a small archive can unpack to any size


class Record:
    """An object of a class this package does not know: its attributes and nothing else."""


def _encode(text: str, encoding: str) -> bytes:
    """Return ``text`` as the bytes that protocol 2 pickles spell it for."""
    if encoding != "latin1":
        raise pickle.UnpicklingError(f"an encoding '{encoding}'")
    return text.encode(encoding)


# The public names of the two functions have moved between versions of numpy; its own pickles tell where they are.
_RECONSTRUCT: Callable[..., Any] = np.empty(0).__reduce__()[0]  # type: ignore[assignment]
_SCALAR: Callable[..., Any] = np.int64(0).__reduce__()[0]  # type: ignore[assignment]
_NUMPY: Mapping[tuple[str, str], Any] = {
    ("numpy", "dtype"): np.dtype,
    ("numpy", "ndarray"): np.ndarray,
    ("numpy.core.multiarray", "scalar"): _SCALAR,
    ("numpy.core.multiarray", "_reconstruct"): _RECONSTRUCT,
}
_ALLOWED: Mapping[tuple[str, str], Any] = {
    **_NUMPY,
    ("__builtin__", "set"): set,
    ("__builtin__", "frozenset"): frozenset,
    ("builtins", "set"): set,
    ("builtins", "frozenset"): frozenset,
}
_PLAIN = frozenset({("__main__", "Person"), ("__main__", "Rule")})
_CODECS = ("_codecs", "encode")
ALLOWED = sorted((*_ALLOWED, *_PLAIN, _CODECS))


class _Unpickler(pickle.Unpickler):
    def __init__(self, file: io.BytesIO) -> None:
        super().__init__(file)
        # Made for this file alone: a pickle can set attributes on whatever it was given.
        self._record = type("Record", (Record,), {})
        self._encode = partial(_encode)

    def find_class(self, module_name: str, global_name: str) -> Any:
        """Return what stands for a name of the pickle; the one gate through which any code could come."""
        name = (module_name, global_name)
        if name in _PLAIN:
            return self._record
        if name == _CODECS:
            return self._encode
        try:
            return _ALLOWED[name]
        except KeyError:
            raise pickle.UnpicklingError(f"the global {module_name}.{global_name}") from None


def read_archive(path: Path) -> Any:
    """Return the object of a ``.pt`` archive.

    Raises:
        RequestError: When the file is missing, is no such archive, or names a global that is not allowed.
    """
    allowed = ", ".join(f"{module}.{name}" for module, name in ALLOWED)
    try:
        with zipfile.ZipFile(path) as archive:
            inside = [entry for entry in archive.infolist() if entry.filename.endswith("/data.pkl")]
            if len(inside) != 1 or inside[0].file_size > MAX_BYTES:
                raise RequestError(
                    f"{path} is no archive with one data.pkl of at most {MAX_BYTES:,} bytes.",
                    hint="use the files as published",
                )
            data = archive.read(inside[0])
        return _Unpickler(io.BytesIO(data)).load()
    except pickle.UnpicklingError as error:
        raise RequestError(
            f"{path} is refused: it holds {error}. Allowed: {allowed}.", hint="use the files as published"
        ) from error
    except FileNotFoundError as error:
        raise RequestError(f"There is no file {path}.", hint="use the folder as published") from error
    except (
        OSError,
        zipfile.BadZipFile,
        EOFError,
        ValueError,
        TypeError,
        AttributeError,
        KeyError,
        IndexError,
        zlib.error,
        RuntimeError,
        MemoryError,
        RecursionError,
        OverflowError,
    ) as error:
        raise RequestError(f"{path} cannot be read: {error}.", hint="use the files as published") from error
