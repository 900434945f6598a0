"""Whatever one contributed file holds, the leaderboards of all the others are drawn."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from mtlbench.leaderboard import artefacts
from mtlbench.leaderboard.draw import Drawn, draw_all
from mtlbench.records import Record, epochs_on_test
from tests.leaderboard import fabricate
from tests.leaderboard.test_check import POLICY
from tests.leaderboard.test_conditions import made


def drawn_with(bad: Record, folder: Path) -> Drawn:
    """What is drawn of three good methods, the bad record among them, with all pictures."""
    good = [made(method, seed) for method in ("single_task", "hard_sharing") for seed in range(2)]
    results = fabricate.save([*good, bad], folder / "results")
    return draw_all(results, folder / "out")


@pytest.mark.parametrize(
    "change",
    [
        lambda result: setattr(result, "robustness", {"summary": {"mean_skill": 0.3}}),
        lambda result: result.robustness["cells"]["fog"]["3"].pop("mean_skill"),
        lambda result: setattr(result, "plan", {"x": 1}),
        lambda result: result.plan["table"].pop(),
        lambda result: result.artefacts.update(policy={"tasks": 3}),
        lambda result: result.artefacts.update(diagnostics={"epochs": "many"}),
        lambda result: result.artefacts.update(merge_tree=[1, 2, 3]),
    ],
)
def test_a_malformed_record_is_refused_and_the_rest_is_drawn(change: Any, tmp_path: Path) -> None:
    bad = made("pcgrad", 0)
    change(bad.result)
    done = drawn_with(bad, tmp_path)
    (line,) = done.refused
    assert bad.id in line and done.drawn == ["streets"]
    assert "hard_sharing" in (tmp_path / "out" / "streets" / "README.md").read_text()
    assert "pcgrad" not in (tmp_path / "out" / "streets" / "README.md").read_text()


def test_a_picture_that_cannot_be_drawn_is_left_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What no check foresaw: the record stays, its picture does not."""
    monkeypatch.setitem(artefacts.KINDS, "policy", artefacts.KINDS["policy"]._replace(wrong=lambda artefact: ""))
    bad = made("pcgrad", 0)
    bad.result.artefacts["policy"] = {**POLICY, "decision": 5}
    done = drawn_with(bad, tmp_path)
    (line,) = done.refused
    assert bad.id in line and "policy cannot be drawn" in line
    assert "pcgrad" in (tmp_path / "out" / "streets" / "README.md").read_text()
    assert not list((tmp_path / "out" / "streets").glob("policy-*"))
    assert "policy cannot be drawn" in (tmp_path / "out" / "index.html").read_text()


def test_good_artefacts_are_drawn(tmp_path: Path) -> None:
    good = made("pcgrad", 0)
    good.result.artefacts["policy"] = {**POLICY, "tasks": ["a", "$x"], "blocks": [r"$\\foo$", "two"]}
    assert not drawn_with(good, tmp_path).refused
    assert len(list((tmp_path / "out" / "streets").glob("policy-*.svg"))) == 1


@pytest.mark.parametrize(
    "content",
    ["{", "[]", '{"record": "another", "test": {}}', '{"record": "RECORD", "test": {}}', "EPOCH WITHOUT TASKS"],
)
def test_a_bad_file_of_epochs_on_test_is_refused_and_the_rest_is_drawn(content: str, tmp_path: Path) -> None:
    record = made("pcgrad", 0)
    beside = epochs_on_test.path_of(tmp_path / "results" / "streets" / f"{record.id}.json")
    beside.parent.mkdir(parents=True)
    if content == "EPOCH WITHOUT TASKS":
        epoch = {"metrics": {}, "constant": {}, "skill": {}, "mean_skill": 0.0}
        content = json.dumps({"record": record.id, "test": {"10": epoch}})
    beside.write_text(content.replace("RECORD", record.id))
    done = drawn_with(record, tmp_path)
    (line,) = done.refused
    assert line.startswith(str(beside)) and done.drawn == ["streets"]
    assert "pcgrad" in (tmp_path / "out" / "streets" / "README.md").read_text()
    assert not (tmp_path / "out" / "streets" / "selection_inflation.md").exists()
