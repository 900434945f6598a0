"""The wheel works outside the repository: plugins, pages' templates and experiments are in it."""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import sys
import sysconfig
import venv
from pathlib import Path

import pytest

from mtlbench.config.plugins import Registry

ROOT = Path(__file__).resolve().parents[2]
SMALL = ("height=32", "width=64", "train=16", "val=8", "test=8", "shifted=0")


def run(*words: object, cwd: Path) -> str:
    """Run a program in a folder, with nothing of the repository on its path; returns what it prints."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "MTLBENCH"))}
    environment["OMP_NUM_THREADS"] = "1"
    done = subprocess.run(list(map(str, words)), cwd=cwd, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of programs of an environment with the wheel, which borrows all other packages from this one."""
    folder = tmp_path_factory.mktemp("wheel")
    source = folder / "source"
    for name in ("mtlbench", "methods", "datasets", "experiments"):
        shutil.copytree(ROOT / name, source / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("setup.cfg", "pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    # Without setuptools here, pip brings what pyproject.toml asks for.
    isolation = ["--no-build-isolation"] if importlib.util.find_spec("setuptools") else []
    pip = [sys.executable, "-m", "pip"]
    run(*pip, "wheel", "--quiet", "--no-deps", *isolation, "--wheel-dir", folder / "dist", source, cwd=folder)
    (wheel,) = (folder / "dist").glob("*.whl")
    shutil.rmtree(source)
    venv.create(folder / "environment", with_pip=False)
    (packages,) = (folder / "environment" / "lib").glob("python*/site-packages")
    (packages / "borrowed.pth").write_text(sysconfig.get_paths()["purelib"] + "\n")
    programs = folder / "environment" / "bin"
    run(*pip, "--python", programs / "python", "install", "--quiet", "--no-deps", "--no-index", wheel, cwd=folder)
    return programs


@pytest.mark.long
def test_plugins_and_experiments_are_there(installed: Path, tmp_path: Path) -> None:
    listed = run(installed / "mtlbench", "list", cwd=tmp_path)
    assert [plugin for _, plugin in Registry().plugins if plugin not in listed] == []
    assert str(ROOT) not in run(installed / "python", "-c", "import mtlbench; print(mtlbench.__path__)", cwd=tmp_path)
    code = "from mtlbench.cli import bench, main; from mtlbench.config.plugins import Registry\n"
    code += "print(bench.experiment_of(main.parser('bench').parse_args(['bench', *WORDS]), Registry()).name)"
    assert "quickstart" in run(installed / "python", "-c", code.replace("WORDS", "[]"), cwd=tmp_path)
    for path in (ROOT / "experiments").glob("*.yaml"):
        run(installed / "python", "-c", code.replace("WORDS", f"['-e', 'experiments/{path.name}']"), cwd=tmp_path)


@pytest.mark.long
def test_a_trial_is_trained_drawn_and_used_in_an_empty_folder(installed: Path, tmp_path: Path) -> None:
    options = [word for option in SMALL for word in ("--dataset-arg", option)]
    words = ["train", "-m", "pcgrad", "-d", "streets", "--epochs", "1", "--cache", "cache", *options]
    run(installed / "mtlbench", *words, cwd=tmp_path)
    (record,) = (tmp_path / "results").rglob("*.json")
    run(installed / "mtlbench", "leaderboard", cwd=tmp_path)
    assert (tmp_path / "leaderboards" / "streets" / "index.html").is_file()
    code = "import torch; from mtlbench import Trained; "
    code += f"print(Trained.from_record({str(record)!r}).predict(torch.rand(3, 9, 9))['depth'].shape)"
    assert "[9, 9]" in run(installed / "python", "-c", code, cwd=tmp_path)
