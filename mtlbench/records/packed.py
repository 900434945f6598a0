"""Arrays in JSON."""

from __future__ import annotations

import base64
import zlib

import numpy as np

from mtlbench.records.model import RecordModel


class Packed(RecordModel):
    """An array as zlib-compressed, base64-coded, little-endian bytes.

    Attributes:
        dtype: NumPy's name of the type of its elements.
    """

    dtype: str
    shape: list[int]
    data: str

    @classmethod
    def pack(cls, array: np.ndarray) -> Packed:
        little = np.ascontiguousarray(array).astype(array.dtype.newbyteorder("<"), copy=False)
        return cls(
            dtype=array.dtype.name,
            shape=list(array.shape),
            data=base64.b64encode(zlib.compress(little.tobytes(), 6)).decode("ascii"),
        )

    def unpack(self) -> np.ndarray:
        """The array, read-only.

        Raises:
            ValueError, TypeError, zlib.error: the bytes are not those of such an array.
        """
        raw = zlib.decompress(base64.b64decode(self.data))
        return np.frombuffer(raw, np.dtype(self.dtype).newbyteorder("<")).reshape(self.shape)
