"""What all tests have in common."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import torch


@pytest.fixture(scope="session")
def shared() -> Path:
    """A folder with larger sample data (real digits, golden numbers), which the project does not need: skips without it."""
    named = os.environ.get("MTLBENCH_SHARED")
    folder = Path(named) if named else Path(__file__).resolve().parents[2] / "shared"
    if not folder.is_dir():
        pytest.skip(f"no sample data at {folder}; name their folder in MTLBENCH_SHARED")
    return folder


@pytest.fixture(autouse=True)
def one_thread() -> None:
    """Results must not depend on the machine's number of cores."""
    torch.set_num_threads(1)
