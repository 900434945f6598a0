"""The doctor says what is wrong with an installation."""

from __future__ import annotations

import importlib.metadata
import shutil
from pathlib import Path

import pytest

from mtlbench.cli.doctor import check_checkout, diagnose_torchvision
from mtlbench.cli.main import main

ROOT = Path(__file__).parents[2]


def test_this_installation_is_well(capsys: pytest.CaptureFixture[str]) -> None:
    code = main(["doctor"])
    out = capsys.readouterr().out
    assert code == 0, out
    assert "BAD" not in out
    for text in ("torchvision", f"torchjd {importlib.metadata.version('torchjd')}", f"from {ROOT}"):
        assert text in out


def test_a_torchvision_of_another_torch_is_recognised() -> None:
    text = diagnose_torchvision("operator torchvision::nms does not exist", "2.13.0+cpu", "0.29.2")
    assert "built for another torch than 2.13.0+cpu" in text


def test_a_broken_plugin_is_bad_and_an_unavailable_one_is_named(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    requires = "requires = {'no_such_package': 'pip install it'}"
    text = f"from mtlbench.contract import Strategy\nclass Mine(Strategy):\n    {requires}\n"
    (tmp_path / "picky.py").write_text(text)
    assert main(["doctor", "--plugins", str(tmp_path)]) == 0
    out = capsys.readouterr().out
    assert "ok   picky is unavailable: needs the package 'no_such_package': pip install it" in out

    (tmp_path / "wrong.py").write_text("import no_such_module\n")
    assert main(["doctor", "--plugins", str(tmp_path)]) == 2
    lines = capsys.readouterr().out.splitlines()
    (group,) = [line for line in lines if line.endswith("methods, and 1 broken")]
    assert group.startswith("BAD ")
    (plugin,) = [line for line in lines if "wrong is broken" in line]
    assert plugin.startswith("BAD ")
    assert "no_such_module" in plugin
    assert str(tmp_path / "wrong.py") in lines[lines.index(plugin) + 1]


def test_another_checkout_is_noticed(tmp_path: Path) -> None:
    assert check_checkout(ROOT).ok
    assert check_checkout(tmp_path).ok, "a folder that is no checkout"
    (tmp_path / "setup.cfg").write_text("[metadata]\nname = something\n")
    assert check_checkout(tmp_path).ok, "another project"
    shutil.copy(ROOT / "setup.cfg", tmp_path)
    finding = check_checkout(tmp_path)
    assert not finding.ok
    assert str(ROOT) in finding.text
    assert str(tmp_path) in finding.text
    (tmp_path / "setup.cfg").write_text("no sections\n")
    assert check_checkout(tmp_path).ok
