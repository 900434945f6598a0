"""A plugin's hash follows its own text and that of the helpers it mentions, and nothing else."""

from pathlib import Path

import pytest

from mtlbench.config import source_hash as sources


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "plugin.py").write_text("from mtlbench.datasets._one import x\n")
    (tmp_path / "_one.py").write_text("from mtlbench.datasets._two import x\n")
    (tmp_path / "_two.py").write_text("from mtlbench.datasets._one import y\nx = 1\n")
    (tmp_path / "_other.py").write_text("x = 2\n")
    return tmp_path


@pytest.mark.parametrize(("name", "follows"), [("plugin", True), ("_one", True), ("_two", True), ("_other", False)])
def test_an_edit_changes_the_hash_of_whoever_uses_the_file(folder: Path, name: str, follows: bool) -> None:
    before = sources.digest(folder / "plugin.py")
    with (folder / f"{name}.py").open("a") as file:
        file.write("# edited\n")
    assert (sources.digest(folder / "plugin.py") != before) == follows


def test_the_hash_does_not_depend_on_the_place(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    for path in folder.iterdir():
        (elsewhere / path.name).write_bytes(path.read_bytes())
    assert sources.digest(folder / "plugin.py") == sources.digest(elsewhere / "plugin.py")
