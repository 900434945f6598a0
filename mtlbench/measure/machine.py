"""The machine a trial runs on: threads, determinism, precision, memory, and what a record says of it all."""

from __future__ import annotations

import contextlib
import ctypes
import gc
import os
import platform
import resource
import subprocess
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch

import mtlbench
from mtlbench.config.settings import Settings

_SHOWN = ("torch", "torchvision", "torchmetrics", "numpy", "ray", "torchjd")


def set_up(threads: int) -> None:
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


def resolve_precision(settings: Settings) -> str:
    """What `precision` means here. "auto" asks what the device can do, never how fast it is."""
    if settings.precision != "auto":
        return settings.precision
    return "bf16" if torch.cuda.is_available() and torch.cuda.is_bf16_supported() else "fp32"


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


def provenance(device: torch.device, threads: int) -> dict[str, Any]:
    """Versions and hardware, as a record keeps them."""
    return {
        "mtlbench": mtlbench.__version__ + _commit(),
        "versions": {"python": platform.python_version(), **{name: _version(name) for name in _SHOWN}},
        "machine": {
            "system": platform.system(),
            "processor": device_name(torch.device("cpu")),
            "device": device_name(device),
            "threads": threads,
        },
    }


def device_name(device: torch.device) -> str:
    """What the device is sold as."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    try:
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return ""


def _commit() -> str:
    """`+abc1234` in a git checkout, with `.dirty` where files differ from it; empty elsewhere."""
    root = Path(mtlbench.__file__).resolve().parents[1]
    if not (root / ".git").exists():
        return ""
    try:
        done = subprocess.run(
            ["git", "-C", str(root), "describe", "--always", "--dirty=.dirty", "--abbrev=7", "--exclude=*"],
            capture_output=True,
            text=True,
            timeout=5,
            check=True,
        )
    except (OSError, subprocess.SubprocessError):
        return ""
    return f"+{done.stdout.strip()}"
