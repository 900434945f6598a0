"""The list of packages in setup.cfg is complete: a package that it lacks would be missing from the built wheel."""

from __future__ import annotations

from configparser import ConfigParser
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PLACES = {"mtlbench": "mtlbench", "methods": "mtlbench.methods", "datasets": "mtlbench.datasets"}
"""Folder of the repository → the package that it becomes."""


def packages_of(folder: Path, name: str) -> set[str]:
    """The package in a folder and those below it, by their dotted names."""
    inits = (path.parent.relative_to(folder) for path in folder.rglob("__init__.py"))
    return {".".join([name, *relative.parts]) for relative in inits}


def test_setup_lists_every_package() -> None:
    setup = ConfigParser()
    setup.read(ROOT / "setup.cfg", encoding="utf-8")
    listed = setup["options"]["packages"].split()
    present = {package for folder, name in PLACES.items() for package in packages_of(ROOT / folder, name)}
    # A folder of data alone is listed too, and has no __init__.py.
    code = {name for name in listed if not name.endswith((".templates", ".experiments"))}
    assert len(listed) == len(set(listed)), "a package is listed twice"
    assert present - set(listed) == set(), "add these to `packages =` in setup.cfg"
    assert code - present == set(), "these are in setup.cfg and not in the repository"


def test_a_forgotten_package_would_be_noticed(tmp_path: Path) -> None:
    for folder in ("", "rays", "rays/deep", "no_package"):
        (tmp_path / folder).mkdir(exist_ok=True)
    for folder in ("", "rays", "rays/deep"):
        (tmp_path / folder / "__init__.py").write_text("")
    assert packages_of(tmp_path, "mtlbench.datasets") == {
        "mtlbench.datasets",
        "mtlbench.datasets.rays",
        "mtlbench.datasets.rays.deep",
    }
