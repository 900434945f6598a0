"""Where a record comes from: versions and hardware."""

from __future__ import annotations

import platform
import subprocess
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch

import mtlbench

_SHOWN = ("torch", "torchvision", "torchmetrics", "numpy", "ray", "torchjd")


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
