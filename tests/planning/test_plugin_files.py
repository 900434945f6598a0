"""Plugins from extra folders work on a machine that does not have the folder."""

from __future__ import annotations

import multiprocessing
import os
import shutil
import stat
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from mtlbench.config.plugins import Registry
from mtlbench.contract import UserError
from mtlbench.planning import plugin_files
from mtlbench.planning.trial_spec import TrialSpec
from tests.tiny import trials

FILES = {
    "mine/__init__.py": '"""Mine."""\nfrom .inner.strategy import Mine\n',
    "mine/inner/__init__.py": "",
    "mine/inner/strategy.py": (
        "from mtlbench.contract import Strategy\nfrom ..numbers import ONE\n\n\n"
        "class Mine(Strategy):\n    '''Descend the sum.'''\n\n    one = ONE\n"
    ),
    "mine/numbers.py": "ONE = 1\n",
    "single.py": "from mtlbench.contract import Strategy\n\n\nclass Single(Strategy):\n    '''Ünlike the other.'''\n",
}


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A temporary folder of this test's own, in which plugins are written anew."""
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    yield folder / f"mtlbench-plugins-{os.getuid()}"


@pytest.fixture
def extra(tmp_path: Path) -> Path:
    for name, text in FILES.items():
        path = tmp_path / "extra" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    return tmp_path / "extra"


def collect(extra: Path) -> dict[str, str]:
    registry = Registry([extra])
    return plugin_files.collect([registry.method("mine"), registry.method("single"), registry.method("pcgrad")])


def test_all_python_files_of_plugins_from_outside_are_collected(extra: Path) -> None:
    (extra / "mine" / "notes.md").write_text("no code")
    assert collect(extra) == {str(extra / name): text for name, text in FILES.items()}


def test_files_that_are_there_are_used_where_they_are(extra: Path, home: Path) -> None:
    assert plugin_files.folders(collect(extra)) == [extra]
    assert not home.exists()


@pytest.mark.parametrize("change", ["gone", "edited", "edited inside", "unreadable"])
def test_other_files_are_written_anew_with_their_places(extra: Path, home: Path, change: str) -> None:
    files = collect(extra)
    if change == "gone":
        shutil.rmtree(extra)
    elif change == "unreadable":
        (extra / "single.py").write_bytes(b"\xff")
        (extra / "mine" / "numbers.py").unlink()
    else:
        for name in ("single.py", "mine/numbers.py" if change == "edited inside" else "mine/__init__.py"):
            (extra / name).write_text("edited = True\n")
    folders = plugin_files.folders(files)
    written = {path.relative_to(folder).as_posix(): path for folder in folders for path in folder.rglob("*.py")}
    assert {name: path.read_text(encoding="utf-8") for name, path in written.items()} == FILES
    assert all(path.is_relative_to(home) for path in written.values())
    registry = Registry(folders)
    assert getattr(registry.strategy("mine").cls, "one") == 1  # noqa: B009
    assert registry.strategy("single").summary == "Ünlike the other."


def test_the_folder_is_of_this_user_alone(extra: Path, home: Path) -> None:
    files = collect(extra)
    shutil.rmtree(extra)
    home.mkdir(mode=0o777)
    home.chmod(0o777)
    plugin_files.folders(files)
    assert stat.S_IMODE(home.stat().st_mode) == 0o700


def test_a_folder_of_another_user_is_refused(extra: Path, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files = collect(extra)
    shutil.rmtree(extra)
    home.symlink_to(home.parent)
    with pytest.raises(UserError, match="does not belong to this user"):
        plugin_files.folders(files)
    home.unlink()
    monkeypatch.setattr(os, "getuid", lambda: 12345)
    (home.parent / "mtlbench-plugins-12345").mkdir()
    with pytest.raises(UserError, match="does not belong to this user"):
        plugin_files.folders(files)


def test_what_was_changed_in_the_folder_is_mended(extra: Path, home: Path) -> None:
    files = collect(extra)
    shutil.rmtree(extra)
    for path in [path for folder in plugin_files.folders(files) for path in folder.rglob("*.py")]:
        path.write_text("changed = True\n")
    for folder in plugin_files.folders(files):
        for path in folder.rglob("*.py"):
            assert path.read_text(encoding="utf-8") == FILES[path.relative_to(folder).as_posix()]


def _write_and_import(files: dict[str, str]) -> str:
    return Registry(plugin_files.folders(files)).strategy("mine").summary


def test_workers_may_write_the_same_files_at_once(extra: Path, home: Path) -> None:
    files = collect(extra)
    shutil.rmtree(extra)
    with multiprocessing.get_context("fork").Pool(4) as pool:
        assert set(pool.map(_write_and_import, [files] * 12)) == {"Descend the sum."}
    assert not [path for path in home.rglob(".*") if path.is_file()], "half-written files were left"


def test_a_trial_on_another_machine_finds_its_plugins(extra: Path, home: Path, tmp_path: Path) -> None:
    (spec,) = trials(tmp_path, ["mine"], registry=Registry([extra]))
    shutil.rmtree(extra)
    received = TrialSpec.model_validate_json(spec.model_dump_json())
    method = received.resolve(received.registry())
    assert method.strategy.path.is_relative_to(home)
    assert method.strategy.source == spec.sources["mine"]
