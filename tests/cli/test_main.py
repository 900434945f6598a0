"""The command line: what a user sees, above all after a mistake."""

from __future__ import annotations

from pathlib import Path

import pytest

from mtlbench.cli.main import COMMANDS, main


def cli(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, str, str]:
    try:
        code = main(words)
    except SystemExit as exit_:  # argparse
        code = int(exit_.code or 0)
    out, err = capsys.readouterr()
    return code, out, err


@pytest.mark.parametrize("command", sorted(COMMANDS))
def test_every_command_explains_itself(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = cli(capsys, command, "--help")
    assert code == 0
    assert f"mtlbench {command}" in out


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["bnech"], "Did you mean 'bench'"),
        (["bench", "-m", "hard_sharin", "-d", "streets"], "Did you mean 'hard_sharing'"),
        (["bench", "-m", "hard_sharing", "-d", "street"], "Did you mean 'streets'"),
        (["bench", "-m", "hard_sharing"], "given without --dataset"),
        (["bench", "-m", "hard_sharing", "-d", "streets", "--seeds", "0"], "expected 1 or more"),
        (["bench", "-m", "hard_sharing", "-d", "streets", "--cpus", "nan"], "--cpus nan is refused"),
        (["train", "-m", "hard_sharing", "-d", "streets", "--cpus", "0"], "--cpus 0 is refused"),
        (["train", "-m", "hard_sharing", "-d", "streets", "--setting", "lr=2001-99-99"], "lr = '2001-99-99' is refused"),
        (["bench", "-m", "hard_sharing", "-d", "streets", "--epochs", "0"], "epochs = 0 is refused"),
        (["bench", "-m", "hard_sharing", "-d", "streets", "--backbone", "resnet20"], "Did you mean"),
        (["bench", "-m", "hard_sharing", "-d", "streets", "--setting", "lr"], "expected NAME=VALUE"),
        (["bench", "-m", "hard_sharing", "-d", "streets", "--method-arg", "own_weight=1"], "has no hyper-parameter"),
        (["bench", "-m", "hard_sharing", "-d", "streets", "--dataset-arg", "heigt=3"], "Did you mean 'height'"),
        (["bench", "-m", "hard_sharing", "-d", "streets,multidigits", "--data", "x"], "one dataset"),
        (["bench", "-m", "equal,famo", "-d", "streets", "--method-arg", "a=1"], "gives hyper-parameters to one method"),
        (["bench", "--dataset-arg", "height=32"], "gives options to one dataset"),
        (["bench", "--data", "x"], "names a folder for one dataset"),
        (["bench", "-e", "none.yaml"], "cannot be read"),
        (["bench", "--plugins", "no-such-folder"], "no plugin folder"),
        (["train", "-m", "cross_stitch", "-d", "streets", "--method-arg", "own_weight=7"], "expected 0 <= own_weight <= 1"),
        (["list", "hardsharing"], "Did you mean 'hard_sharing'"),
        (["show", "nothing"], "no such folder of records"),
    ],
)
def test_a_mistake_gets_one_line_and_exit_code_2(
    words: list[str], message: str, capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    code, _, err = cli(capsys, *words)
    assert code == 2
    assert message in err
    assert "Traceback" not in err
    assert len(err.strip().splitlines()) == 1
    assert not list(tmp_path.glob("r*")), "nothing was started"


def test_cityscapes_without_data_says_how_to_get_it(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    code, _, err = cli(capsys, "bench", "-m", "hard_sharing", "-d", "cityscapes", "--data", str(tmp_path))
    assert code == 2
    for word in ("leftImg8bit", str(tmp_path), "cityscapes-dataset.com", "streets"):
        assert word in err
    assert "Traceback" not in err


def test_lists_say_what_there_is(capsys: pytest.CaptureFixture[str]) -> None:
    for words, expected in (
        (["list"], ["hard_sharing", "cross_stitch", "streets"]),
        (["list", "cross_stitch"], ["own_weight", "0.9"]),
        (["list", "settings"], ["epochs", "output_stride"]),
        (["list", "backbones"], ["resnet_tiny"]),
        (["list", "experiment"], ["methods[].label", "what its row is called", "required"]),
    ):
        code, out, _ = cli(capsys, *words)
        assert code == 0
        assert all(word in out for word in expected)


def test_train_writes_one_record_and_does_it_once(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    options = ["height=32", "width=64", "train=16", "val=8", "test=8", "shifted=0"]
    words = ["train", "-m", "hard_sharing", "-d", "streets", "--epochs", "1", "--cache", str(tmp_path / "cache")]
    for option in options:
        words += ["--dataset-arg", option]
    code, out, _ = cli(capsys, *words)
    assert code == 0
    assert "epoch 1/1" in out
    assert len(list(tmp_path.glob("results/streets/*.json"))) == 1
    code, out, _ = cli(capsys, *words)
    assert code == 0
    assert "The record is there" in out
