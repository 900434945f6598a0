"""`.npy` files written as streams and opened as memory maps."""

from __future__ import annotations

import os
from pathlib import Path
from types import TracebackType

import numpy as np
from numpy.typing import NDArray

_HEADER = 128


class ArrayWriter:
    """Appends samples to a `.npy` file whose length is known only at the end (bad samples may be left out).

    Plain writes, not a memory map: on a full disk a write raises OSError, where a page of a map kills the process.
    """

    def __init__(self, path: Path, shape: tuple[int, ...], dtype: str) -> None:
        self.shape, self.dtype, self.count = shape, np.dtype(dtype), 0
        self._file = path.open("wb")
        self._file.write(bytes(_HEADER))

    def append(self, value: NDArray[np.generic]) -> None:
        """Append one array of the declared shape and data type."""
        if value.shape != self.shape or value.dtype != self.dtype:
            raise ValueError(f"expected {self.dtype} {self.shape}, got {value.dtype} {value.shape}")
        self._file.write(np.ascontiguousarray(value).data)
        self.count += 1

    def finish(self) -> None:
        """Write the header and wait until everything is on the disk."""
        self._file.seek(0)
        self._file.write(_header(self.dtype, (self.count, *self.shape)))
        self._file.flush()
        os.fsync(self._file.fileno())

    def __enter__(self) -> ArrayWriter:
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None) -> None:
        self._file.close()


def _header(dtype: np.dtype[np.generic], shape: tuple[int, ...]) -> bytes:
    """Header of the NPY format 1.0, padded to a fixed length so that it can be written last."""
    text = repr({"descr": np.lib.format.dtype_to_descr(dtype), "fortran_order": False, "shape": shape})
    magic = b"\x93NUMPY\x01\x00" + (_HEADER - 10).to_bytes(2, "little")
    return magic + text.encode("latin1").ljust(_HEADER - 11) + b"\n"


def open_array(path: Path) -> np.memmap[tuple[int, ...], np.dtype[np.generic]]:
    """Map a `.npy` file into memory.

    Copy-on-write: the file is never changed, and torch gets a tensor that it need not warn about. Raises OSError or
    ValueError when the file is missing or damaged.
    """
    return np.lib.format.open_memmap(path, mode="c")
