"""Pictures of single methods from their records' artefacts."""

from __future__ import annotations

from pathlib import Path

import pytest

from mtlbench.leaderboard.artefacts import KINDS, draw_gradients

EPOCHS = [
    {"cosine": {"a|b": 0.1 * n, "a|c": None if n == 0 else -0.1}, "conflict": {}, "gradient_norm": {}} for n in range(4)
]


def test_gradient_cosines_are_drawn_and_the_same_each_time(tmp_path: Path) -> None:
    for name in ("one", "two"):
        draw_gradients({"epochs": EPOCHS, "phases": []}, tmp_path / f"{name}.png")
    assert (tmp_path / "one.png").read_bytes() == (tmp_path / "two.png").read_bytes()
    assert (tmp_path / "one.svg").read_bytes() == (tmp_path / "two.svg").read_bytes()


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_kinds_have_a_caption(kind: str) -> None:
    assert KINDS[kind][0]
