"""Arrays from the host to the device without making the host wait.

A copy from pageable memory synchronises: the host stops until the GPU has finished everything before it. A copy from
page-locked memory is queued like any other work.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor


def to_device(array: NDArray[np.generic] | Tensor, device: torch.device) -> Tensor:
    """An array or CPU tensor on the device: the same memory on a CPU, an asynchronous copy on a GPU."""
    tensor = torch.from_numpy(np.ascontiguousarray(array)) if isinstance(array, np.ndarray) else array
    if device.type != "cuda":
        return tensor.to(device)
    return tensor.pin_memory().to(device, non_blocking=True)


def constant(values: Sequence[float], like: Tensor) -> Tensor:
    """A few numbers as a tensor of another's type, on its device."""
    return to_device(torch.tensor(values, dtype=like.dtype), like.device)
