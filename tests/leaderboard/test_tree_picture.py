"""The picture of a merge tree."""

from pathlib import Path

from mtlbench.leaderboard.tree_picture import draw_merge_tree, thinned

TASKS = ["segmentation", "depth", "normals"]
START = {"epoch": 0, "table": [[0, 1, 2]] * 3, "parameters": 3_000_000, "flops": 3e9}
MERGED = {"epoch": 4, "table": [[0, 0, 0], [0, 1, 1], [0, 1, 2]], "parameters": 1_500_000, "flops": 2e9}
MATRIX = [[1.0, 0.9, 0.1], [0.9, 1.0, -0.2], [0.1, -0.2, 1.0]]
PART = [[1.0, 0.5], [0.5, 1.0]]
TESTED = [
    {"phase": 0, "epoch": 2, "unit": "stem", "tasks": TASKS, "merged": [TASKS], "before": MATRIX, "after": MATRIX},
    {
        "phase": 1,
        "epoch": 3,
        "unit": "stage1",
        "tasks": TASKS[:2],
        "merged": [],
        "before": PART,
        "after": None,
    },
]


def test_it_is_drawn_the_same_every_time(tmp_path: Path) -> None:
    artefact = {"tasks": TASKS, "units": ["stem", "stage1", "stage2"], "frames": [START, MERGED], "similarity": TESTED}
    for name in ("one", "two"):
        draw_merge_tree(artefact, tmp_path / f"{name}.png")
    for suffix in (".png", ".svg"):
        assert (tmp_path / f"one{suffix}").read_bytes() == (tmp_path / f"two{suffix}").read_bytes()


def test_a_tree_that_was_not_learned_is_drawn_alone(tmp_path: Path) -> None:
    draw_merge_tree({"tasks": TASKS, "units": ["stem", "stage1", "stage2"], "frames": [MERGED]}, tmp_path / "tree.png")
    assert (tmp_path / "tree.svg").exists()


def test_it_says_what_was_measured_and_leaves_no_room_for_what_was_not(tmp_path: Path) -> None:
    artefact = {"tasks": TASKS, "units": ["stem", "stage1", "stage2"], "frames": [START, MERGED], "similarity": TESTED}
    draw_merge_tree(artefact, tmp_path / "both.png")
    draw_merge_tree({**artefact, "similarity": TESTED[1:], "measure": "affinity"}, tmp_path / "once.png")
    both, once = ((tmp_path / f"{name}.svg").read_text() for name in ("both", "once"))
    assert "CKA of the tasks" in both and ">after<" in both
    assert "affinity at the tested unit" in once and ">after<" not in once


def test_thinning_keeps_both_ends() -> None:
    assert thinned(list(range(100)), 5) == [0, 25, 50, 74, 99]
    assert thinned([1, 2], 5) == [1, 2]
