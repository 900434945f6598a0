"""What is done per trial does not grow with the number of trials, and workers are used again."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from mtlbench.planning import expansion
from mtlbench.running.display import Display
from mtlbench.running.finished import find_record, find_records
from mtlbench.running.ray_session import Resources, ray_session
from mtlbench.running.scheduler import run_trials
from tests.tiny import trials

METHODS = [{"name": "cross_stitch", "label": f"stitch-{number}", "set": {"own_weight": number / 10}} for number in range(4)]


def test_records_are_found_by_one_look_into_the_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first, second, third, fourth = trials(tmp_path, METHODS)
    results = tmp_path / "results"
    for trial, folder in ((first, "streets"), (second, "sent/by/others"), (third, "copies"), (third, "streets")):
        (results / folder).mkdir(parents=True, exist_ok=True)
        (results / folder / trial.file_name()).write_text(f'{{\n "id": "{trial.id}",\n "result": {{}}\n}}\n')
    (results / "streets" / f"other-{fourth.id}.epochs-on-test.json").touch()
    looks: list[str] = []
    rglob = Path.rglob

    def watched(path: Path, pattern: str) -> Iterator[Path]:
        looks.append(pattern)
        return rglob(path, pattern)

    monkeypatch.setattr(Path, "rglob", watched)
    assert find_records([first, second, third, fourth], results) == {
        first.id: results / "streets" / first.file_name(),
        second.id: results / "sent" / "by" / "others" / second.file_name(),
        third.id: results / "streets" / third.file_name(),
    }
    assert len(looks) == 1
    assert find_record(fourth, results) is None and find_record(first, tmp_path / "nowhere") is None


def test_many_methods_have_one_protocol_card(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[Any] = []
    card = expansion.card

    def watched(*values: Any) -> dict[str, Any]:
        made.append(values)
        return card(*values)

    monkeypatch.setattr(expansion, "card", watched)
    different = {"name": "hard_sharing", "settings": {"lr": 0.5}}
    planned = trials(tmp_path, [*METHODS, different], seeds=2)
    assert len(planned) == 10 and len(made) == 2
    assert {trial.protocol["optimizer"]["lr"] for trial in planned[-2:]} == {0.5}
    assert all(trial.protocol == planned[0].protocol for trial in planned[:-2])


@pytest.mark.long
def test_a_worker_runs_one_trial_after_another(tmp_path: Path) -> None:
    """A process of its own for a trial takes longer to start than a small trial takes."""
    planned = trials(tmp_path, ["hard_sharing"], seeds=16, settings={"epochs": 1, "head_width": 4, "bn_images": 4})
    resources = Resources(cpus=1)
    with ray_session(resources):
        import ray

        workers = int(ray.cluster_resources()["CPU"])
        outcome = run_trials(planned, tmp_path / "runs", tmp_path / "results", resources, Display(16, Console(quiet=True)))
    assert len(outcome.written) == 16 and not outcome.failed
    processes = {json.loads(path.read_text())["pid"] for path in tmp_path.glob("runs/*/progress.json")}
    assert 1 <= len(processes) <= min(workers, 16)
