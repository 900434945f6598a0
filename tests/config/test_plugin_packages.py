"""A plugin may be a package: in the repository's folders, in extra folders, and among installed packages."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from mtlbench.config.plugins import Registry

PACKAGE = {
    "__init__.py": '"""Mine."""\nfrom .strategy import Mine\n',
    "strategy.py": """
from mtlbench.contract import Strategy, TaskLosses

from . import deeper
from .deeper.factor import FACTOR


class Mine(Strategy):
    \"\"\"Descend the sum, scaled.\"\"\"

    factor = FACTOR
""",
    "deeper/__init__.py": "",
    "deeper/factor.py": "FACTOR = 2\n",
}


def write(folder: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return folder


def test_a_package_in_an_extra_folder_is_a_plugin(tmp_path: Path) -> None:
    write(tmp_path / "mine", PACKAGE)
    plugin = Registry([tmp_path]).strategy("mine")
    assert plugin.path == tmp_path / "mine" / "__init__.py"
    assert getattr(plugin.cls, "factor") == 2  # noqa: B009
    assert plugin.summary == "Descend the sum, scaled."
    assert [path.relative_to(tmp_path / "mine").as_posix() for path in plugin.files] == sorted(PACKAGE)
    assert "mine" not in sys.modules, "outside plugins must not take the names of other modules"


def test_a_package_may_stand_among_the_methods_of_an_extra_folder(tmp_path: Path) -> None:
    write(tmp_path / "methods", {"__init__.py": "raise RuntimeError('no plugin')\n"})
    write(tmp_path / "methods" / "mine", PACKAGE)
    registry = Registry([tmp_path])
    assert registry.strategy("mine").group == "methods"
    assert ("methods", "methods") not in registry.plugins


def test_an_edited_module_of_a_package_is_imported_anew(tmp_path: Path) -> None:
    write(tmp_path / "mine", PACKAGE)
    first = Registry([tmp_path]).strategy("mine")
    source = first.source
    assert getattr(first.cls, "factor") == 2  # noqa: B009
    write(tmp_path / "mine", {"deeper/factor.py": "FACTOR = 2 + 1\n"})
    second = Registry([tmp_path]).strategy("mine")
    assert getattr(second.cls, "factor") == 3  # noqa: B009
    assert second.source != source


@pytest.mark.parametrize(
    ("init", "reason"),
    [
        ("from mtlbench.contract import Strategy\n", "in the package, found none"),
        ("from .strategy import Mine\nclass Other(Mine): ...\n", "in the package, found Mine, Other"),
        ("from .absent import Mine\n", "ModuleNotFoundError"),
        ("from .strategy import Mine\nraise RuntimeError('late')\n", "RuntimeError: late"),
    ],
)
def test_a_broken_package_is_listed_with_its_reason(tmp_path: Path, init: str, reason: str) -> None:
    write(tmp_path / "mine", {**PACKAGE, "__init__.py": init})
    plugin = Registry([tmp_path]).group("methods")["mine"]
    assert reason in plugin.broken
    if "Error" in reason:
        assert not [name for name in sys.modules if name.startswith(plugin.module_name)], "half an import was left"


def test_a_class_under_two_names_is_one_class(tmp_path: Path) -> None:
    write(tmp_path / "mine", {**PACKAGE, "__init__.py": "from .strategy import Mine\nMethod = Mine\n"})
    assert not Registry([tmp_path]).strategy("mine").broken


def test_a_package_comes_before_a_file_of_its_name(tmp_path: Path) -> None:
    write(tmp_path / "mine", PACKAGE)
    write(tmp_path, {"mine.py": PACKAGE["strategy.py"]})
    methods = Registry([tmp_path]).group("methods")
    assert methods["mine"].path.name == "__init__.py"
    assert "is taken by" in methods[f"mine ({tmp_path / 'mine.py'})"].broken


def test_names_with_an_underscore_and_folders_without_code_are_no_plugins(tmp_path: Path) -> None:
    write(tmp_path / "_mine", PACKAGE)
    write(tmp_path / "notes", {"read.me": "nothing"})
    names = {name for _, name in Registry([tmp_path]).plugins}
    assert names.isdisjoint({"_mine", "notes"})


def test_installed_packages_bring_plugins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path / "acme_mtl", {"__init__.py": "", "common.py": "FACTOR = 5\n", "broken.py": "import no_such_package\n"})
    write(tmp_path / "acme_mtl" / "mine", {**PACKAGE, "deeper/factor.py": "from ...common import FACTOR\n"})
    points = (
        "[mtlbench.methods]\nacme = acme_mtl.mine\nacme_broken = acme_mtl.broken\nacme_absent = acme_mtl.absent\n"
        "acme_elsewhere = no_such_package.mine\n"
    )
    write(tmp_path / "acme_mtl-1.0.dist-info", {"METADATA": "Name: acme-mtl\nVersion: 1.0\n", "entry_points.txt": points})
    monkeypatch.syspath_prepend(tmp_path)
    methods = Registry().group("methods")
    assert getattr(methods["acme"].cls, "factor") == 5  # noqa: B009
    assert "no_such_package" in methods["acme_broken"].broken
    assert "does not exist" in methods["acme_absent"].broken
    assert "no_such_package" in methods["acme_elsewhere"].broken
    before = methods["acme"].source
    write(tmp_path / "acme_mtl", {"common.py": "FACTOR = 6\n"})
    assert Registry().group("methods")["acme"].source != before
