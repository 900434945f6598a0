"""`mtlbench reproduce`: the trial of a record is run again, and every field is compared."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from mtlbench.cli.main import main
from mtlbench.errors import UserError
from mtlbench.records import Result, read, write
from mtlbench.running.run_trial import run_trial
from tests.tiny import trials

METHOD = '''"""Scale the loss."""

from mtlbench.contract import Hyper, Strategy


class Scaled(Strategy):
    """Descend the scaled sum of the losses."""

    scale: float = Hyper(1.0, gt=0, help="factor of the sum")

    def step(self, batch):
        losses = self.losses(batch)
        self.descend(self.scale * sum(losses.values()))
        return losses
'''

TINY = {"height": 32, "width": 64, "train": 8, "val": 4, "test": 4, "shifted": 0}


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder with the record of one trial, whose method lies in a plugin folder of its own."""
    folder = tmp_path_factory.mktemp("trained")
    (folder / "plugins").mkdir()
    (folder / "plugins" / "scaled.py").write_text(METHOD)
    words = ["train", "-m", "scaled", "-d", "streets", "--epochs", "1", "--backbone", "resnet_tiny", "--seed", "3"]
    words += [
        "--method-arg",
        "scale=2",
        "--setting",
        "head_width=8",
        "--setting",
        "batch_size=4",
        "--setting",
        "optimizer=sgd",
    ]
    for name, value in TINY.items():
        words += ["--dataset-arg", f"{name}={value}"]
    assert main([*words, *folders(folder), "--diagnose", "gradients"]) == 0
    yield folder


def folders(folder: Path) -> list[str]:
    pairs = {"--results": "results", "--runs": "runs", "--cache": "cache", "--plugins": "plugins"}
    return [word for option, name in pairs.items() for word in (option, str(folder / name))]


@pytest.fixture
def folder(trained: Path, tmp_path: Path) -> Path:
    """A copy that a test may change; the prepared data are the same."""
    for name in ("results", "runs", "plugins"):
        shutil.copytree(trained / name, tmp_path / name)
    (tmp_path / "cache").symlink_to(trained / "cache")
    return tmp_path


def record_file(folder: Path) -> Path:
    (path,) = folder.glob("results/streets/*.json")
    return path


def change(folder: Path, **changes: Any) -> str:
    """Change fields of the record; returns its id."""
    path = record_file(folder)
    values = json.loads(path.read_text())
    for dotted, value in changes.items():
        part = values
        *way, last = dotted.split("__")
        for name in way:
            part = part[name]
        part[last] = value
    path.write_text(json.dumps(values))
    return str(values["id"])


def reproduce(folder: Path, name: str, capsys: pytest.CaptureFixture[str], *more: str) -> tuple[int, str, str]:
    code = main(["reproduce", name, *folders(folder), *more])
    out, err = capsys.readouterr()
    return code, out, err


def test_an_unchanged_trial_gives_the_same_and_leaves_everything_as_it_was(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """From the record alone: the folder of its run is not needed, and not touched."""
    shutil.rmtree(folder / "runs")
    before = record_file(folder).read_bytes()
    code, out, err = reproduce(folder, read(record_file(folder)).id[:6], capsys, "--out", str(folder / "again"))
    assert code == 0, err
    for name in Result.model_fields:
        assert f"same          result.{name}\n" in out
    assert "not compared  measured.training_seconds" in out and out.rstrip().splitlines()[-2] == "The same result."
    assert record_file(folder).read_bytes() == before and not (folder / "runs").exists()
    (again,) = folder.glob("again/reproduced-*/results/streets/*.json")
    assert read(again).id == read(record_file(folder)).id
    assert read(again).result == read(record_file(folder)).result


def test_a_changed_number_is_found(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    change(folder, result__test__metrics__depth__abs_err=0.123456, result__selected={"segmentation+depth": 7})
    code, out, err = reproduce(folder, str(record_file(folder)), capsys)
    assert code == 1, err
    assert "DIFFERENT     result.test: 1 value\n" in out and "metrics.depth.abs_err  0.123456 → " in out
    assert "DIFFERENT     result.selected" in out and "same          result.curve" in out
    assert out.rstrip().endswith("the trial does not repeat itself.")


def test_an_edited_plugin_is_named_as_the_cause(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = folder / "plugins" / "scaled.py"
    file.write_text(METHOD.replace("self.scale * sum", "3 * self.scale * sum"))
    identity = change(folder, provenance__versions={"torch": "0.0"})
    code, out, _ = reproduce(folder, identity, capsys)
    assert code == 1
    assert "DIFFERENT     result.curve" in out and "same          protocol\n" in out
    causes = out[out.index("Different. What else differs") :]
    assert causes.splitlines()[1].startswith("  source of scaled: ") and "version of torch: 0.0 → " in causes


def test_a_record_that_does_not_say_what_was_run_needs_the_folder_of_its_run(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    identity = change(folder, specification={})
    code, out, _ = reproduce(folder, identity, capsys)
    assert code == 0 and "The same result." in out
    shutil.rmtree(folder / "runs")
    code, _, err = reproduce(folder, identity, capsys)
    assert code == 2 and "--runs" in err and len(err.strip().splitlines()) == 1


@pytest.mark.parametrize(
    ("specification", "message"),
    [
        ({"method": "scaled"}, "specification, field label: Field required"),
        ({"settings": {"epochs": "many"}}, "epochs = 'many' is refused"),
        ({"settings": {"nothing": 1}}, "no setting 'nothing'"),
        ({"method": "nobody"}, "no method 'nobody'"),
        ({"hypers": {"scale": -1}}, "scale"),
        ({"seed": "x"}, "seed"),
        ({"diagnose": ["x"]}, "nothing to diagnose"),
    ],
)
def test_a_damaged_specification_is_refused_in_one_line(
    specification: dict[str, Any], message: str, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    whole = read(record_file(folder)).specification
    damaged = specification if "label" in message else {**whole, **specification}
    code, _, err = reproduce(folder, change(folder, specification=damaged), capsys)
    assert code == 2 and message in err and len(err.strip().splitlines()) == 1 and "Traceback" not in err


def test_several_records_of_one_name_are_refused(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    record = read(record_file(folder))
    record.seed, record.id = 4, "0123456789ab"
    write(record_file(folder).with_name("other.json"), record)
    code, _, err = reproduce(folder, "scaled", capsys)
    assert code == 2 and "names 2 records" in err and "0123456789ab" in err


def test_training_again_never_replaces_another_result_unless_forced(tmp_path: Path) -> None:
    (spec,) = trials(tmp_path, ["hard_sharing"], options={**TINY}, settings={"epochs": 1, "batch_size": 4})
    work, results = tmp_path / "runs", tmp_path / "results"
    path = run_trial(spec, work, results)
    record = read(path)
    record.result.selected = {"another": 1}
    write(path, record)
    before = path.read_bytes()
    with pytest.raises(UserError, match=f"another result of trial {spec.id}"):
        run_trial(spec, work, results)
    assert path.read_bytes() == before
    run_trial(spec, work, results, force=True)
    assert read(path).result.selected != {"another": 1}
