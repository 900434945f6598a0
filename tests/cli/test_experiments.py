"""What the command line makes of its arguments: an experiment, and options under their old names."""

from __future__ import annotations

from pathlib import Path

import pytest

from mtlbench.cli import bench, main
from mtlbench.config.plugins import Registry
from mtlbench.planning.experiment import Experiment

FILE = """
name: mine
methods: [hard_sharing, {name: cross_stitch, set: {own_weight: 0.8}, label: gentle}]
datasets: [{name: streets, set: {height: 64}, settings: {epochs: 6}}]
seeds: [3, 5]
settings: {epochs: 2}
diagnose: [gradients]
"""


def experiment(tmp_path: Path, *words: str) -> Experiment:
    (tmp_path / "mine.yaml").write_text(FILE)
    words = tuple(str(tmp_path / word) if word == "mine.yaml" else word for word in words)
    return bench.experiment_of(main.parser("bench").parse_args(["bench", *words]), Registry())


def test_names_make_an_experiment(tmp_path: Path) -> None:
    made = experiment(
        tmp_path, "-m", "equal, famo,equal", "-d", "streets,planted", "--seeds", "2", "--diagnose", "gradients"
    )
    assert [entry.name for entry in made.methods] == ["equal", "famo"]
    assert [entry.name for entry in made.datasets] == ["streets", "planted"]
    assert made.seed_list == [0, 1]
    assert made.reference
    assert made.diagnose == ["gradients"]


def test_all_is_every_method_and_every_dataset_without_files(tmp_path: Path) -> None:
    made = experiment(tmp_path, "-m", "all", "-d", "all")
    names = [entry.name for entry in made.methods]
    assert {"hard_sharing", "pcgrad", "single_task"} <= set(names)
    assert "equal" not in names, "hard_sharing is that already"
    assert {"streets", "planted"} <= {entry.name for entry in made.datasets}
    assert "cityscapes" not in {entry.name for entry in made.datasets}


def test_arguments_go_to_the_method_and_the_dataset(tmp_path: Path) -> None:
    words = ("-m", "cross_stitch", "-d", "streets", "--method-arg", "own_weight=0.7", "--dataset-arg", "height=32")
    made = experiment(tmp_path, *words, "--data", str(tmp_path))
    assert made.methods[0].set == {"own_weight": 0.7}
    assert made.datasets[0].set == {"height": 32}
    assert made.datasets[0].root == str(tmp_path)


def test_a_file_is_taken_as_it_is(tmp_path: Path) -> None:
    made = experiment(tmp_path, "-e", "mine.yaml")
    assert made.name == "mine"
    assert [(entry.name, entry.label) for entry in made.methods] == [("hard_sharing", ""), ("cross_stitch", "gentle")]
    assert made.seed_list == [3, 5]
    assert made.diagnose == ["gradients"]


def test_the_command_line_changes_a_file(tmp_path: Path) -> None:
    made = experiment(
        tmp_path, "-e", "mine.yaml", "-m", "cross_stitch", "--seeds", "1", "--no-reference",
        "--method-arg", "own_weight=0.6", "--dataset-arg", "width=128",
    )  # fmt: skip
    assert made.methods[0].set == {"own_weight": 0.6}
    assert made.datasets[0].set == {"height": 64, "width": 128}, "an option of the file's one dataset"
    assert made.datasets[0].settings == {"epochs": 6}
    assert made.seed_list == [0]
    assert not made.reference


@pytest.mark.parametrize(("old", "new"), [("--set", "--method-arg"), ("--option", "--dataset-arg")])
@pytest.mark.parametrize("command", ["bench", "train"])
def test_old_options_work_and_name_the_new_ones_once(
    command: str, old: str, new: str, capsys: pytest.CaptureFixture[str]
) -> None:
    parser = main.parser(command)
    words = [command, "-m", "cross_stitch", "-d", "streets", old, "a=1", new, "b=2", old, "c=3"]
    arguments = parser.parse_args(words)
    assert vars(arguments)[new.strip("-").replace("-", "_")] == ["a=1", "b=2", "c=3"]
    assert capsys.readouterr().err.splitlines() == [
        f"mtlbench: {old} is now {new}; the old name goes with the next release."
    ]
    again = main.parser(command).parse_args(words[:5])
    assert vars(again)[new.strip("-").replace("-", "_")] == []


@pytest.mark.parametrize("command", ["bench", "train", "data"])
def test_old_options_are_not_listed(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main.main([command, "--help"])
    out = capsys.readouterr().out
    assert "--dataset-arg NAME=VALUE" in out
    assert "--set " not in out
    assert "--option" not in out


def test_a_command_under_its_old_name_runs(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(main, "OLD_NAMES", {"enumerate": "list"})
    assert main.main(["enumerate", "backbones"]) == 0
    out, err = capsys.readouterr()
    assert "resnet_tiny" in out
    assert err == "mtlbench: enumerate is now list; the old name goes with the next release.\n"


def test_every_old_name_of_a_command_has_a_new_one() -> None:
    for old, new in main.OLD_NAMES.items():
        assert old not in main.COMMANDS
        assert new in main.COMMANDS
