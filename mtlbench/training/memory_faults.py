"""When memory runs out: how it is told from other errors, and with how many pieces per batch a trial is tried again."""

from __future__ import annotations

import torch

SAID = ("out of memory", "can't allocate memory", "not enough memory")
"""What torch says in a plain `RuntimeError`: CUDA's libraries, and `DefaultCPUAllocator` on Linux and on Windows."""


def ran_out_of_memory(error: BaseException) -> bool:
    """Whether an error, or the one that it was raised for, says that memory ran out: of a GPU or of the machine."""
    if isinstance(error, MemoryError | torch.OutOfMemoryError):
        return True
    if isinstance(error, RuntimeError) and any(words in str(error) for words in SAID):
        return True
    return error.__cause__ is not None and ran_out_of_memory(error.__cause__)


def more_pieces(batch_size: int, micro_batches: int) -> int | None:
    """Twice as many pieces per batch as there were; None where they would have fewer than 2 images: BatchNorm needs 2."""
    return 2 * micro_batches if batch_size >= 4 * micro_batches else None
