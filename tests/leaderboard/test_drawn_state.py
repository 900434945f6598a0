"""What is drawn again: whatever a drawing depends on, the code included, is in its key."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

import mtlbench
from mtlbench.leaderboard.drawn_state import ROOMS, BoardState, State, code_hash, read_state, write_state

PACKAGE = Path(mtlbench.__file__).parent


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the code that draws."""
    copy = tmp_path_factory.mktemp("code") / "mtlbench"
    copy.mkdir()
    for room in ROOMS:
        source = PACKAGE / room
        if source.is_dir():
            shutil.copytree(source, copy / room, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(source, copy / room)
    return copy


def test_an_edit_of_any_file_of_the_code_that_draws_changes_its_hash(package: Path) -> None:
    before = code_hash(package)
    assert before == code_hash(PACKAGE)
    files = [path for path in sorted(package.rglob("*")) if path.is_file()]
    assert {path.relative_to(package).parts[0] for path in files} == set(ROOMS)
    for path in files:
        content = path.read_bytes()
        path.write_bytes(content + b"\n# edited")
        assert code_hash(package) != before, path
        path.write_bytes(content)
    assert code_hash(package) == before


def test_a_new_or_renamed_file_changes_the_hash(package: Path) -> None:
    before = code_hash(package)
    new = package / "statistics" / "new.py"
    new.write_text("")
    assert code_hash(package) != before
    with_new = code_hash(package)
    new.rename(new.with_name("newer.py"))
    assert code_hash(package) not in (before, with_new)
    new.with_name("newer.py").unlink()
    assert code_hash(package) == before


def test_the_rooms_are_all_that_leaderboards_import() -> None:
    imported = set()
    for path in (PACKAGE / "leaderboard").rglob("*.py"):
        for line in path.read_text(encoding="utf-8").splitlines():
            words = line.split()
            if words[:1] == ["from"] and words[1].startswith("mtlbench."):
                imported.add(words[1].split(".")[1])
    assert imported <= {room.removesuffix(".py") for room in ROOMS}


def test_a_state_is_read_back_and_an_unreadable_one_is_none(tmp_path: Path) -> None:
    state = BoardState(key="a", outputs=["README.md"], refused=["x"], ranks={"mtan": 1.0})
    write_state(tmp_path, state)
    assert read_state(tmp_path, BoardState) == state
    assert read_state(tmp_path, State) is None, "of another kind"
    (tmp_path / ".drawn.json").write_text("{")
    assert read_state(tmp_path, BoardState) is None
    assert read_state(tmp_path / "nowhere", BoardState) is None
