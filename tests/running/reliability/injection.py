"""Plugins with faults, and a tiny trial of one of them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from mtlbench.config.plugins import Registry
from mtlbench.planning.trial_spec import TrialSpec
from tests.tiny import trials

STRATEGY = '''"""A strategy with a fault."""

import os
from pathlib import Path

import torch

from mtlbench.contract import Hyper, Strategy


class {name}(Strategy):
    """A strategy with a fault."""

    first: int = Hyper(1, ge=0, help="the first epoch with the fault")

    def step(self, batch):
        if self.run.epoch >= self.first:
            {fault}
        losses = self.losses(batch)
        self.descend(losses)
        return losses
'''

FAULTS = {
    "raises": "if 'MENDED' not in os.environ: raise KeyError('nothing')",
    "explodes": "return {task: loss * float('nan') for task, loss in self.losses(batch).items()}",
    "grows": "return {task: loss * 1e6 for task, loss in self.losses(batch).items()}",
    # As torch says it on a GPU; in one piece alone, as if two would fit.
    "needs_memory": "if self.run.micro_batches == 1: raise torch.OutOfMemoryError('CUDA out of memory. Tried to allocate')",
    "needs_more_memory": (
        "if 'MENDED' not in os.environ: raise RuntimeError('DefaultCPUAllocator: can\\'t allocate memory: you tried to')"
    ),
    "fills_disk": "import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (1000, resource.RLIM_INFINITY))",
}
"""Strategy → what it does from some epoch on."""


def write_plugin(folder: Path, name: str) -> None:
    """Put a faulty strategy into a plugin folder."""
    class_name = "".join(word.title() for word in name.split("_"))
    (folder / f"{name}.py").write_text(STRATEGY.format(name=class_name, fault=FAULTS[name]), encoding="utf-8")


def faulty(folder: Path, name: str, settings: dict[str, Any] | None = None, **hypers: Any) -> TrialSpec:
    """A tiny trial of a faulty strategy."""
    write_plugin(folder, name)
    (spec,) = trials(folder, [{"name": name, "set": hypers}], registry=Registry([folder]), settings=settings or {})
    return spec


def command(folder: Path, *words: str, epochs: int = 2) -> list[str]:
    """An `mtlbench` command with tiny data."""
    line = [sys.executable, "-m", "mtlbench", *words, "--epochs", str(epochs), "--cache", str(folder / "cache")]
    for option in ("height=32", "width=64", "train=32", "val=8", "test=8", "shifted=0"):
        line += ["--dataset-arg", option]
    return line


def run(folder: Path, *words: str, epochs: int = 2, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run it to its end in a folder."""
    done = subprocess.run(
        command(folder, *words, epochs=epochs), cwd=folder, capture_output=True, text=True, stdin=subprocess.DEVNULL,
        env={**os.environ, "OMP_NUM_THREADS": "1", **environment},
    )  # fmt: skip
    assert "Traceback" not in done.stderr, done.stderr
    return done


def results(folder: Path) -> dict[str, str]:
    """Row and seed → its result as text; each once."""
    records = [json.loads(path.read_text()) for path in sorted((folder / "results").glob("**/*.json"))]
    found = {f"{record['method']} {record['seed']}": json.dumps(record["result"], sort_keys=True) for record in records}
    assert len(found) == len(records)
    return found
