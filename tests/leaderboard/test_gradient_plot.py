"""The plot of gradient cosines, and the kinds of pictures that methods have."""

from __future__ import annotations

from pathlib import Path

import pytest

from mtlbench.leaderboard.gradient_plot import draw_gradients
from mtlbench.leaderboard.method_pictures import KINDS
from mtlbench.records import Artefacts, GradientDiagnostics
from tests.leaderboard.artefacts import GRADIENTS, POLICY, TREE


def test_gradient_cosines_are_drawn_and_the_same_each_time(tmp_path: Path) -> None:
    diagnostics = GradientDiagnostics.model_validate(GRADIENTS)
    first, second = (draw_gradients(diagnostics, tmp_path / name) for name in ("first", "second"))
    assert [path.suffix for path in first] == [".png", ".svg"]
    assert [path.read_bytes() for path in first] == [path.read_bytes() for path in second]


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_each_kind_of_picture_has_a_caption_and_is_drawn_from_its_artefact_alone(kind: str, tmp_path: Path) -> None:
    artefacts = Artefacts.model_validate({"policy": POLICY, "merge_tree": TREE, "diagnostics": GRADIENTS})
    caption, draw = KINDS[kind]
    assert caption
    assert len(draw(artefacts, tmp_path / kind)) == 2
    setattr(artefacts, kind, None)
    assert draw(artefacts, tmp_path / "none") == []
