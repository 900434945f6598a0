"""Artefacts as methods leave them in records, small."""

from __future__ import annotations

from typing import Any

TASKS = ["segmentation", "depth", "normals"]
UNITS = ["stem", "stage1", "stage2"]

START: dict[str, Any] = {"epoch": 0, "table": [[0, 1, 2]] * 3, "parameters": 3_000_000, "flops": 3_000_000_000}
MERGED: dict[str, Any] = {
    "epoch": 4,
    "table": [[0, 0, 0], [0, 1, 1], [0, 1, 2]],
    "parameters": 1_500_000,
    "flops": 2_000_000_000,
}
MATRIX = [[1.0, 0.9, 0.1], [0.9, 1.0, -0.2], [0.1, -0.2, 1.0]]
PART = [[1.0, 0.5], [0.5, 1.0]]

TEST: dict[str, Any] = {
    "phase": 0,
    "epoch": 2,
    "unit": "stem",
    "tasks": TASKS,
    "merged": [TASKS],
    "before": MATRIX,
    "after": MATRIX,
}
TEST_OF_TWO = {**TEST, "phase": 1, "epoch": 3, "unit": "stage1", "tasks": TASKS[:2], "merged": [], "before": PART}
SIMILARITY: list[dict[str, Any]] = [TEST, {**TEST_OF_TWO, "after": None}]

TREE: dict[str, Any] = {"tasks": TASKS, "units": UNITS, "frames": [START, MERGED], "similarity": SIMILARITY}

POLICY: dict[str, Any] = {
    "tasks": ["a", "b"],
    "blocks": ["one", "two"],
    "probability": [[0.1, 0.9], [0.5, 0.5]],
    "decision": [[False, True], [True, True]],
    "correlation": [[1.0, 0.0], [0.0, 1.0]],
    "history": [{"epoch": 1, "gated": 2, "temperature": 5.0, "probability": [[0.1, 0.9], [0.5, 0.5]]}],
}

GRADIENTS: dict[str, Any] = {
    "epochs": [{"cosine": {"a|b": 0.1 * n, "a|c": None if n == 0 else -0.1}} for n in range(4)],
    "phases": [],
}
