"""Running trials from Python."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from mtlbench.api import bench, sweep
from mtlbench.errors import UserError
from tests.tiny import SETTINGS, STREETS

DATA = [{"name": "streets", "set": STREETS}]


def run(folder: Path, methods: Any, **options: Any) -> Any:
    settings = {**SETTINGS, "epochs": 1, **options.pop("settings", {})}
    folders: dict[str, Any] = {"results": folder / "results", "runs": folder / "runs", "cache": folder / "cache"}
    return bench(methods, DATA, settings=settings, in_process=True, **folders, **options)


def test_trials_are_run_once_and_returned_each_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stitched = {"name": "cross_stitch", "set": {"own_weight": 0.8}, "label": "gentle"}
    frame = run(tmp_path, ["hard_sharing", stitched], seeds=[4])
    assert list(frame["row"]) == ["gentle", "hard_sharing", "single_task"], "Δ needs the single-task networks"
    assert set(frame["seed"]) == {4}
    assert frame.set_index("row")["settings"]["gentle"] == "own_weight=0.8"
    assert frame["latency_ms/1"].notna().all()

    def refuse(*arguments: object) -> Path:
        raise AssertionError("a trial with a record was run again")

    monkeypatch.setattr(sweep, "run_trial", refuse)
    again = run(tmp_path, ["hard_sharing", stitched], seeds=[4])
    assert list(again["record"]) == list(frame["record"])
    assert list(run(tmp_path, "hard_sharing", seeds=[4], reference=False)["row"]) == ["hard_sharing"]


def test_a_trial_that_fails_is_named_and_the_others_are_run(tmp_path: Path) -> None:
    plugin = tmp_path / "plugins" / "refusing.py"
    plugin.parent.mkdir()
    plugin.write_text(
        '"""Refuses."""\n\nfrom mtlbench.contract import Strategy, UserError\n\n\nclass Refusing(Strategy):\n'
        '    """Refuses."""\n\n    def step(self, batch):\n        raise UserError("this cannot be trained")\n'
    )
    with pytest.raises(UserError, match="streets · refusing · seed 0 failed: this cannot be trained"):
        run(tmp_path, "refusing,hard_sharing", plugins=[plugin.parent], reference=False)
    assert len(list((tmp_path / "results").rglob("*.json"))) == 1


@pytest.mark.parametrize(
    ("methods", "options", "message"),
    [
        ((), {}, "bench needs methods and datasets, or an experiment file"),
        ("hard_sharin", {}, "Did you mean 'hard_sharing'"),
        ("hard_sharing", {"settings": {"epoch": 1}}, "epoch"),
        ("hard_sharing", {"seeds": 0}, "at least one seed"),
        ([{"name": "hard_sharing", "sett": {}}], {}, "Did you mean 'set'"),
        ("hard_sharing", {"experiment": "none.yaml"}, "cannot be read"),
    ],
)
def test_mistakes_are_one_line(methods: Any, options: dict[str, Any], message: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=message) as caught:
        run(tmp_path, methods, **options)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "runs").exists()


def test_an_experiment_that_comes_with_mtlbench_is_known_by_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    experiment = sweep._experiment((), (), "quickstart", 2, True)
    assert experiment.name == "quickstart" and experiment.seed_list == [0, 1]
