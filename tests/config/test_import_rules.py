"""The rules on imports hold, and a wrong import is reported.

Checked by import-linter (`.importlinter`). Its graph holds the plugins as `methods` and `datasets`, so an absolute
`mtlbench.methods…` in a plugin would escape it: that one is refused here.
"""

from __future__ import annotations

import configparser
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from mtlbench.config.source_hash import imports

ROOT = Path(__file__).parents[2]
FOLDERS = ("mtlbench", "methods", "datasets")

WRONG = [
    ("mtlbench/tasks/depth.py", "from mtlbench.networks import heads", "mtlbench.networks.heads"),
    ("mtlbench/tasks/base.py", "if TYPE_CHECKING:\n    from mtlbench.contract import Run", "mtlbench.contract"),
    ("mtlbench/networks/plan.py", "def f():\n    import mtlbench.tasks.setlevel\n    import mtlbench.cli", "mtlbench.cli"),
    ("mtlbench/contract/run.py", "from mtlbench.config.plugins import Registry", "mtlbench.config.plugins"),
    ("mtlbench/records/record.py", "from mtlbench.config.settings import Settings", "mtlbench.config.settings"),
    ("mtlbench/statistics/delta.py", "from mtlbench.leaderboard import table", "mtlbench.leaderboard.table"),
    ("mtlbench/statistics/agreement.py", "from mtlbench.data.store import prepare", "mtlbench.data.store"),
    ("mtlbench/leaderboard/table.py", "from mtlbench import data", "mtlbench.data"),
    ("mtlbench/measure/cost.py", "from mtlbench.running.trial import Trial", "mtlbench.running.trial"),
    ("mtlbench/planning/protocol.py", "def f():\n    from ..running import trial", "mtlbench.running.trial"),
    ("methods/pcgrad.py", "from mtlbench.networks.plan import SharingPlan", "mtlbench.networks.plan"),
    ("methods/gls.py", "from mtlbench.contract.run import total", "mtlbench.contract.run"),
    ("methods/rlw.py", "from mtlbench.errors import UserError", "mtlbench.errors"),
    ("methods/famo.py", "from .gls import GLS", "methods.gls"),
    ("methods/dwa.py", "if TYPE_CHECKING:\n    from .mtan import MTAN", "methods.mtan"),
    ("datasets/celeba.py", "from .streets import layout", "datasets.streets.layout"),
    ("datasets/_shared/arrays.py", "from ..celeba import CelebA", "datasets.celeba"),
    ("datasets/multidigits.py", "from mtlbench.tasks.base import Task", "mtlbench.tasks.base"),
]
"""(file, a wrong import whose last line is the one to be named, what it imports)."""


def lint(folder: Path) -> subprocess.CompletedProcess[str]:
    """Run import-linter in a folder, on what lies there."""
    command = Path(sys.executable).with_name("lint-imports")
    environment = {**os.environ, "PYTHONPATH": str(folder), "COLUMNS": "300"}
    return subprocess.run([command, "--no-cache"], cwd=folder, env=environment, capture_output=True, text=True, check=False)


@pytest.fixture(scope="module")
def copy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("copy")
    for name in FOLDERS:
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / ".importlinter", folder)
    return folder


def plant(file: Path, code: str) -> int:
    """Append code; returns the number of its last line."""
    with file.open("a", encoding="utf-8") as stream:
        stream.write(f"{code}\n")
    return len(file.read_text(encoding="utf-8").splitlines())


def described(path: str, imported: str, line: int) -> str:
    return f"{path.removesuffix('.py').replace('/', '.')} -> {imported} (l.{line})"


def test_the_repository_keeps_its_rules() -> None:
    result = lint(ROOT)
    assert result.returncode == 0, result.stdout + result.stderr


def test_all_wrong_imports_are_named(copy: Path) -> None:
    contents = {path: (copy / path).read_bytes() for path, _, _ in WRONG}
    try:
        expected = [described(path, imported, plant(copy / path, code)) for path, code, imported in WRONG]
        result = lint(copy)
    finally:
        for path, content in contents.items():
            (copy / path).write_bytes(content)
    assert result.returncode == 1
    assert [line for line in expected if line not in result.stdout] == [], result.stdout


@pytest.mark.long
@pytest.mark.parametrize(("path", "code", "imported"), WRONG)
def test_one_wrong_import_is_enough(copy: Path, path: str, code: str, imported: str) -> None:
    content = (copy / path).read_bytes()
    try:
        line = plant(copy / path, code)
        result = lint(copy)
    finally:
        (copy / path).write_bytes(content)
    assert result.returncode == 1
    assert described(path, imported, line) in result.stdout, result.stdout


def test_a_new_folder_must_be_given_its_place(copy: Path) -> None:
    folder = copy / "mtlbench" / "novelties"
    folder.mkdir()
    try:
        (folder / "__init__.py").touch()
        result = lint(copy)
    finally:
        shutil.rmtree(folder)
    assert result.returncode == 1
    assert "novelties" in result.stdout


def test_every_folder_is_in_the_lists_of_what_is_forbidden() -> None:
    parser = configparser.ConfigParser()
    parser.read(ROOT / ".importlinter")
    folders = {f"mtlbench.{path.parent.name}" for path in (ROOT / "mtlbench").glob("*/__init__.py")}
    for_plugins = set(parser["importlinter:contract:plugins"]["forbidden_modules"].split())
    assert for_plugins == (folders - {"mtlbench.contract", "mtlbench.tasks"}) | {
        "mtlbench.errors", "mtlbench.publication", "mtlbench.contract.*", "mtlbench.tasks.*",
    }  # fmt: skip
    for_records = set(parser["importlinter:contract:records"]["forbidden_modules"].split())
    assert for_records == folders - {"mtlbench.records", "mtlbench.statistics", "mtlbench.leaderboard"}


@pytest.mark.parametrize("folder", FOLDERS)
def test_nothing_names_a_plugin_by_its_absolute_name(folder: str) -> None:
    """Plugins are found, not imported; among themselves they import by relative names."""
    wrong = []
    for path in sorted((ROOT / folder).rglob("*.py")):
        module = "somewhere." + ".".join(path.relative_to(ROOT).with_suffix("").parts)
        names = imports(path.read_bytes(), module, is_package=path.name == "__init__.py")
        wrong += [f"{path.relative_to(ROOT)}: {name}" for name in names if _is_absolute_plugin(name)]
    assert wrong == []


def _is_absolute_plugin(name: str) -> bool:
    return any(name == group or name.startswith(f"{group}.") for group in ("mtlbench.methods", "mtlbench.datasets"))
