"""The picture of a merge tree."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from mtlbench.leaderboard.tree_picture import draw_merge_tree, thinned
from mtlbench.records import MergeTree
from tests.leaderboard.artefacts import MERGED, SIMILARITY, TREE


def drawn(tree: dict[str, Any], stem: Path) -> list[Path]:
    return draw_merge_tree(MergeTree.model_validate(tree), stem)


def test_it_is_drawn_the_same_every_time(tmp_path: Path) -> None:
    first, second = (drawn(TREE, tmp_path / name) for name in ("first", "second"))
    assert [path.suffix for path in first] == [".png", ".svg"]
    assert [path.read_bytes() for path in first] == [path.read_bytes() for path in second]


def test_a_tree_that_was_not_learned_is_drawn_alone(tmp_path: Path) -> None:
    drawn({"tasks": TREE["tasks"], "units": TREE["units"], "frames": [MERGED]}, tmp_path / "tree")
    assert (tmp_path / "tree.svg").exists()


def test_it_says_what_was_measured_and_leaves_no_room_for_what_was_not(tmp_path: Path) -> None:
    drawn(TREE, tmp_path / "both")
    drawn({**TREE, "similarity": SIMILARITY[1:], "measure": "affinity"}, tmp_path / "once")
    both, once = ((tmp_path / f"{name}.svg").read_text() for name in ("both", "once"))
    assert "CKA of the tasks" in both and ">after<" in both
    assert "affinity at the tested unit" in once and ">after<" not in once


def test_thinning_keeps_both_ends() -> None:
    assert thinned(list(range(100)), 5) == [0, 25, 50, 74, 99]
    assert thinned([1, 2], 5) == [1, 2]
