"""The type checker sees into plugins: mistakes planted in one fail `make lint`, so nothing leaks to Any on the way."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

PLANTED = {
    "methods/pcgrad.py": (
        "        return projected.sum(0)\n",
        "        total: str = projected.sum(0)\n        return total\n",
    ),
    "datasets/cityscapes/__init__.py": (
        "self._tasks = chosen_tasks(available, self.tasks_used)",
        "self._tasks = chosen_tasks()",
    ),
}
"""File → the text that is there, and the mistake in its place."""


@pytest.mark.long
def test_mistakes_planted_in_plugins_are_type_errors(tmp_path: Path) -> None:
    for folder in ("mtlbench", "methods", "datasets"):
        shutil.copytree(ROOT / folder, tmp_path / folder, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "setup.cfg", tmp_path)
    for name, (text, mistake) in PLANTED.items():
        content = (tmp_path / name).read_text(encoding="utf-8")
        assert text in content, f"{name} has changed: plant the mistake elsewhere"
        (tmp_path / name).write_text(content.replace(text, mistake), encoding="utf-8")
    checked = subprocess.run(
        [sys.executable, "-m", "mypy", "methods", "datasets"], cwd=tmp_path, capture_output=True, text=True, timeout=900
    )
    assert checked.returncode == 1, checked.stdout + checked.stderr
    found = {line.partition(":")[0] for line in checked.stdout.splitlines() if ": error:" in line}
    assert found == set(PLANTED), checked.stdout
