"""`mtlbench check` and `mtlbench new`: what they print, write and refuse."""

from __future__ import annotations

from pathlib import Path

import pytest

from mtlbench.cli.main import main
from mtlbench.cli.new import snake_case
from mtlbench.config.plugins import Registry
from mtlbench.records import read
from mtlbench.running.run_trial import run_trial
from tests.conformance.faults import FAULTS, IMPORTS
from tests.tiny import trials

EXAMPLE = str(Path(__file__).resolve().parents[2] / "mtlbench" / "conformance" / "example")


@pytest.fixture
def faulty(tmp_path: Path) -> Path:
    """A folder with one faulty strategy and one file that cannot be imported."""
    (tmp_path / "impatient.py").write_text(IMPORTS + FAULTS["more_updates"].code, encoding="utf-8")
    (tmp_path / "unimportable.py").write_text("import no_such_package\n", encoding="utf-8")
    return tmp_path


def lines(capsys: pytest.CaptureFixture[str]) -> list[str]:
    return capsys.readouterr().out.splitlines()


# -- check ---------------------------------------------------------------------------------------------------------------


def test_check_prints_a_line_per_property_and_a_reason(faulty: Path, capsys: pytest.CaptureFixture[str]) -> None:
    chosen = [word for name in ("described", "updates_per_step", "loss_scale") for word in ("--only", name)]
    assert main(["check", "impatient", "--plugins", str(faulty), *chosen]) == 1
    first, *properties, last, _ = lines(capsys)
    assert first == f"impatient (strategy, {faulty / 'impatient.py'})"
    words = [line[2:16].strip() for line in properties]
    names = [line[17:].split()[0] for line in properties]
    assert dict(zip(names, words, strict=True)) == {
        "usable": "ok",
        "described": "ok",
        "updates_per_step": "FAILED",
        "loss_scale": "not applicable",
    }
    (failed,) = [line for line in properties if "FAILED" in line]
    assert failed.endswith("→ one call of `step` made 2 optimizer steps, and `updates_per_step()` says 1")
    assert last.startswith("impatient: 2 ok, 1 failed, 1 not applicable (")


def test_check_says_why_a_plugin_cannot_be_imported(faulty: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", "unimportable", "--plugins", str(faulty)]) == 1
    assert "no_such_package" in capsys.readouterr().out


def test_a_plugin_whose_package_is_missing_has_not_failed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code = IMPORTS + 'class Mine(Strategy):\n    """Mine."""\n\n    requires = {"no_such_package": "pip install it"}\n'
    (tmp_path / "mine.py").write_text(code, encoding="utf-8")
    assert main(["check", "mine", "--plugins", str(tmp_path)]) == 0
    assert "needs the package 'no_such_package': pip install it" in capsys.readouterr().out


def test_check_takes_datasets_with_options(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", "planted", "--dataset-arg", "groups=[2, 1]"]) == 0
    assert main(["check", "coloured_boxes", "--plugins", EXAMPLE]) == 0
    assert "coloured_boxes: " in capsys.readouterr().out


def test_check_takes_all_datasets_and_forgives_missing_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)  # a folder without data
    assert main(["check", "datasets"]) == 0
    printed = lines(capsys)
    assert printed[-1].endswith("plugins have all properties.")
    assert any("its files are not here: nyuv2 was not found" in line for line in printed)
    assert main(["check", "nyuv2"]) == 1, "asked for by name, its files are missed"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["streats"], "There is no method or dataset 'streats'. Did you mean 'streets'?"),
        (["equal", "--only", "resumes"], "There is no property 'resumes'. Did you mean 'resume'?"),
        (["equal", "--data", "somewhere"], "--data and --dataset-arg are for one dataset: name it."),
        (["streets", "--dataset-arg", "widht=3"], "has no option 'widht'. Did you mean 'width'?"),
    ],
)
def test_a_mistake_is_one_line_and_exit_code_2(words: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", *words]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert message in line


# -- new -----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "name"),
    [
        (["method", "my_balance"], "my_balance"),
        (["method", "my_gates", "--kind", "architecture"], "my_gates"),
        (["dataset", "my_discs"], "my_discs"),
    ],
)
def test_a_new_plugin_has_all_properties(
    words: list[str], name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["new", *words, "--folder", str(tmp_path)]) == 0
    assert f"try it:  mtlbench check {name} --plugins {tmp_path}" in lines(capsys)
    text = (tmp_path / f"{name}.py").read_text(encoding="utf-8")
    assert f"class {''.join(word.capitalize() for word in name.split('_'))}(" in text
    assert "Template" not in text
    assert main(["check", name, "--plugins", str(tmp_path)]) == 0
    assert "FAILED" not in capsys.readouterr().out


def test_a_new_method_trains_on_a_new_dataset(tmp_path: Path) -> None:
    for words in (["dataset", "my_discs"], ["method", "my_balance"]):
        assert main(["new", *words, "--folder", str(tmp_path)]) == 0
    (spec,) = trials(tmp_path, ["my_balance"], "my_discs", {"count": 12}, registry=Registry([tmp_path]))
    record = read(run_trial(spec, tmp_path / "runs", tmp_path / "results"))
    assert set(record.result.test.skill) == {"disc", "depth"}


def test_new_writes_where_plugins_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["new", "dataset", "first"]) == 0
    (tmp_path / "methods").mkdir()
    assert main(["new", "method", "second"]) == 0
    assert main(["new", "method", "third", "--folder", "deeper/inside"]) == 0
    written = [line.removeprefix("written: ") for line in lines(capsys) if line.startswith("written: ")]
    assert written == ["first.py", "methods/second.py", "deeper/inside/third.py"]
    assert all(Path(name).is_file() for name in written)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("MyMethod", "expected snake_case, such as 'my_method'"),
        ("my-method", "expected snake_case, such as 'my_method'"),
        ("_helper", "expected snake_case, such as 'helper'"),
        ("3d", "expected snake_case, such as 'my_3d'"),
        ("class", "it is a word of Python"),
        ("pcgrad", "is taken by"),
        ("streets", "is taken by"),
        ("all", "`mtlbench list all` means something else"),
    ],
)
def test_a_bad_name_is_refused_in_one_line(
    name: str, message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["new", "method", name, "--folder", str(tmp_path)]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert message in line
    assert not list(tmp_path.iterdir())


def test_nothing_is_overwritten(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "mine.py").write_text("mine\n", encoding="utf-8")
    (tmp_path / "package").mkdir()
    for name in ("mine", "package"):
        assert main(["new", "method", name, "--folder", str(tmp_path)]) == 2
        assert "exists: remove it" in capsys.readouterr().err
    assert (tmp_path / "mine.py").read_text(encoding="utf-8") == "mine\n"


def test_datasets_have_no_kind(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["new", "dataset", "mine", "--kind", "strategy", "--folder", str(tmp_path)]) == 2
    assert "--kind is for methods" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["PCGrad", "my-method", "_x_", "9", "Ünïcode", ""])
def test_the_suggested_name_is_one(name: str) -> None:
    assert snake_case(name).isidentifier() and snake_case(name) == snake_case(snake_case(name))
