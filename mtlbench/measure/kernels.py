"""Which kernels torch may use: reproducible ones in training and evaluation, any in deployment; and in which precision."""

from __future__ import annotations

import os

import torch


def use_reproducible_kernels(threads: int) -> None:
    """Fix everything that decides bits: CPU threads (a scheduler would set another number) and deterministic kernels."""
    torch.set_num_threads(threads)
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    torch.backends.cudnn.benchmark = False
    torch.backends.cudnn.deterministic = True
    torch.use_deterministic_algorithms(True, warn_only=True)
    # Deterministic mode also fills every new tensor: it only hides reads of uninitialised memory, and took 5 % of a step.
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]
    # TF32 would make "fp32" mean something else on one kind of machine than on another.
    torch.backends.cuda.matmul.allow_tf32 = False
    torch.backends.cudnn.allow_tf32 = False


def use_any_kernels(threads: int) -> None:
    """As in deployment: the fastest kernels, found by trying, and none that only reproducibility asks for."""
    torch.set_num_threads(threads)
    torch.use_deterministic_algorithms(False)
    torch.backends.cudnn.deterministic = False
    torch.backends.cudnn.benchmark = True


def gpu_has_bf16() -> bool:
    """Whether this machine has a GPU that computes in bf16 natively: what the device can do, never how fast it is."""
    return torch.cuda.is_available() and torch.cuda.is_bf16_supported()
