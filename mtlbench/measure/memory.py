"""How much memory a piece of work needs: its peak, less what the process held before."""

from __future__ import annotations

import contextlib
import ctypes
import gc
import resource
import sys
from pathlib import Path

import torch


def release_memory() -> None:
    """Give back what earlier work in this process has freed: garbage, cached GPU memory, free heap pages."""
    gc.collect()
    if torch.cuda.is_available() and torch.cuda.is_initialized():
        torch.cuda.empty_cache()
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL("libc.so.6").malloc_trim(0)  # glibc only


class PeakMemory:
    """Measures the largest memory use from its creation on.

    A scheduler runs several trials in one process: what the process held before does not count.

    Args:
        device: a GPU: allocated memory; the CPU: resident memory of the process.
    """

    def __init__(self, device: torch.device) -> None:
        self.device = device
        release_memory()
        if device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(device)
            self.before = int(torch.cuda.memory_allocated(device))
        else:
            with contextlib.suppress(OSError):
                Path("/proc/self/clear_refs").write_text("5", encoding="ascii")  # proc(5): resets the peak resident set
            self.before = peak_memory(device)

    def bytes(self) -> int:
        """The peak so far, less what the process held when measuring began."""
        return max(peak_memory(self.device) - self.before, 0)


def peak_memory(device: torch.device) -> int:
    """Largest memory use since the last reset in bytes: allocated on a GPU, resident of the whole process on a CPU."""
    if device.type == "cuda":
        return int(torch.cuda.max_memory_allocated(device))
    with contextlib.suppress(OSError):
        for line in Path("/proc/self/status").read_text(encoding="ascii").splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return int(peak if sys.platform == "darwin" else peak * 1024)
