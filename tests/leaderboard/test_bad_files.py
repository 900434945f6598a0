"""Whatever one contributed file holds, the leaderboards of all the others are drawn."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from mtlbench.leaderboard import method_pictures
from mtlbench.leaderboard.draw import Drawn, draw_all
from mtlbench.records import Artefacts, Record, epochs_on_test
from tests.leaderboard import fabricate
from tests.leaderboard.artefacts import POLICY
from tests.leaderboard.fabricate_robustness import robust_record


def drawn_with(bad: Record, folder: Path, change: Callable[[Any], object] = lambda values: None) -> Drawn:
    """What is drawn of three methods, the bad record among them, with all pictures."""
    good = [robust_record(method, seed) for method in ("single_task", "hard_sharing") for seed in range(2)]
    results = fabricate.save(good, folder / "results")
    fabricate.save_changed(bad, change, results)
    return draw_all(results, folder / "out")


@pytest.mark.parametrize(
    "change",
    [
        lambda result: result.update(robustness={"summary": {"mean_skill": 0.3}}),
        lambda result: result["robustness"]["cells"]["fog"]["3"].pop("mean_skill"),
        lambda result: result.update(plan={"x": 1}),
        lambda result: result["plan"]["table"].pop(),
        lambda result: result["artefacts"].update(policy={"tasks": 3}),
        lambda result: result["artefacts"].update(diagnostics={"epochs": "many"}),
        lambda result: result["artefacts"].update(merge_tree=[1, 2, 3]),
    ],
)
def test_a_malformed_record_is_refused_and_the_rest_is_drawn(change: Callable[[Any], object], tmp_path: Path) -> None:
    bad = robust_record("pcgrad", 0)
    drawn = drawn_with(bad, tmp_path, lambda values: change(values["result"]))
    (line,) = drawn.refused
    assert bad.id in line and drawn.drawn == ["streets"]
    assert "hard_sharing" in (tmp_path / "out" / "streets" / "README.md").read_text()
    assert "pcgrad" not in (tmp_path / "out" / "streets" / "README.md").read_text()


def test_a_picture_that_cannot_be_drawn_is_left_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What no check foresaw: the record stays, its picture does not."""

    def fail_at_policies(artefacts: Artefacts, stem: Path) -> list[Path]:
        if artefacts.policy is not None:
            raise ValueError(f"nothing can be drawn into {stem}")
        return []

    monkeypatch.setattr(method_pictures, "KINDS", {"policy": ("a picture", fail_at_policies)})
    bad = robust_record("pcgrad", 0)
    drawn = drawn_with(bad, tmp_path, lambda values: values["result"]["artefacts"].update(policy=POLICY))
    (line,) = drawn.refused
    assert bad.id in line and "policy cannot be drawn" in line
    assert "pcgrad" in (tmp_path / "out" / "streets" / "README.md").read_text()
    assert not list((tmp_path / "out" / "streets").glob("policy-*"))
    assert "policy cannot be drawn" in (tmp_path / "out" / "index.html").read_text()


def test_good_artefacts_are_drawn(tmp_path: Path) -> None:
    policy = {**POLICY, "tasks": ["a", "$x"], "blocks": [r"$\\foo$", "two"]}
    drawn = drawn_with(
        robust_record("pcgrad", 0), tmp_path, lambda values: values["result"]["artefacts"].update(policy=policy)
    )
    assert not drawn.refused
    assert len(list((tmp_path / "out" / "streets").glob("policy-*.svg"))) == 1


@pytest.mark.parametrize(
    "content",
    ["{", "[]", '{"record": "another", "test": {}}', '{"record": "RECORD", "test": {}}', "EPOCH WITHOUT TASKS"],
)
@pytest.mark.parametrize("suffix", [epochs_on_test.SUFFIX, epochs_on_test.FORMER_SUFFIX])
def test_a_bad_file_of_epochs_on_test_is_refused_and_the_rest_is_drawn(content: str, suffix: str, tmp_path: Path) -> None:
    record = robust_record("pcgrad", 0)
    beside = tmp_path / "results" / "streets" / f"{record.id}{suffix}"
    beside.parent.mkdir(parents=True)
    if content == "EPOCH WITHOUT TASKS":
        epoch = {"metrics": {}, "constant": {}, "skill": {}, "mean_skill": 0.0}
        content = json.dumps({"record": record.id, "test": {"10": epoch}})
    beside.write_text(content.replace("RECORD", record.id))
    drawn = drawn_with(record, tmp_path)
    (line,) = drawn.refused
    assert line.startswith(str(beside)) and drawn.drawn == ["streets"]
    assert "pcgrad" in (tmp_path / "out" / "streets" / "README.md").read_text()
    assert not (tmp_path / "out" / "streets" / "selection_bias.md").exists()
