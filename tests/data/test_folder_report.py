"""Inspecting a folder names what is damaged, missing or unused, and statistics say how labels are spread."""

from pathlib import Path

import numpy as np
import pytest

from mtlbench.cli import data as command
from mtlbench.contract.dataset import BadSample
from mtlbench.data.folder_report import BadFile, inspect_folder
from mtlbench.data.label_statistics import label_statistics
from mtlbench.data.store import prepare
from mtlbench.errors import UserError
from tests.data.toys import Files, Toy, toy, write_files

PLUGIN = """
from tests.data.toys import Toy

class {name}(Toy):
    '''A toy of its own file.'''
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_files(tmp_path / "raw")
    return tmp_path / "raw"


def test_nothing_is_reported_of_a_complete_folder(folder: Path) -> None:
    calls: list[tuple[str, int, int]] = []
    report = inspect_folder(toy(Files, folder), lambda *call: calls.append(call))
    assert report.samples == {"train": 4, "val": 4, "test": 4} and not report.bad and not report.unused
    assert report.folder == folder and calls[-1] == ("test", 4, 4) and len(calls) == 12


def test_damaged_and_unused_files_are_named(folder: Path) -> None:
    path = folder / "train" / "train1.npy"
    path.write_bytes(path.read_bytes()[:100])
    np.save(folder / "val" / "val0.npy", np.zeros((9, 9, 3), np.uint8))
    (folder / "val" / "notes.txt").write_text("x")
    report = inspect_folder(toy(Files, folder))
    assert [(sample.split, sample.sample) for sample in report.bad] == [("train", "train1"), ("val", "val0")]
    assert "train1.npy" in report.bad[0].reason and "[9, 9, 3]" in report.bad[1].reason
    assert report.unused == (folder / "val" / "notes.txt",)


def test_threads_find_the_same(folder: Path) -> None:
    class Safe(Files):
        thread_safe = True

    np.save(folder / "train" / "train1.npy", np.zeros((9, 9, 3), np.uint8))
    assert inspect_folder(toy(Safe, folder)) == inspect_folder(toy(Files, folder))


def test_missing_files_are_named() -> None:
    class Gone(Toy):
        faults = {("val", 2): FileNotFoundError(2, "No such file", "x/8.png"), ("val", 3): BadSample("y.png is cut off")}  # noqa: RUF012

    report = inspect_folder(toy(Gone))
    assert report.bad[1] == BadFile("val", "val/3", "y.png is cut off")
    assert [sample.sample for sample in report.bad] == ["val/2", "val/3"] and "x/8.png" in report.bad[0].reason
    assert report.folder is None


def test_label_statistics(tmp_path: Path) -> None:
    prepared = prepare(toy(), "toy", tmp_path)
    train = prepared.splits["train"]
    lines = label_statistics(train)
    assert set(lines) == {task.name for task in train.tasks}
    labels = train.tensors["segmentation"]
    known = labels[labels != 255]
    top = max(range(5), key=lambda k: int((known == k).sum()))
    share = 100 * float((known == top).sum()) / len(known)
    assert lines["segmentation"].startswith(f"all labelled; class {top} {share:.1f} %")
    assert lines["segmentation"].endswith(f"{100 * float((labels == 255).float().mean()):.1f} % unlabelled")
    assert lines["depth"].startswith("9 of 12 labelled; ") and lines["image_again"] == "all labelled"
    assert (
        lines["normals"].startswith("all labelled; mean (")
        and " absent); 0.0 % unlabelled" in lines["kind"]
        and "attribute" in lines["attributes"]
    )


@pytest.fixture
def plugins(tmp_path: Path) -> Path:
    (tmp_path / "plugins" / "datasets").mkdir(parents=True)
    (tmp_path / "plugins" / "datasets" / "mytoy.py").write_text(PLUGIN.format(name="MyToy"))
    return tmp_path / "plugins"


def run(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, str]:
    import argparse

    parser = argparse.ArgumentParser()
    command.add_arguments(parser)
    code = command.run(parser.parse_args(list(words)))
    return code, capsys.readouterr().out


def test_the_command_prints_prepares_checks_and_draws(
    plugins: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    common = ("mytoy", "--plugins", str(plugins), "--cache", str(tmp_path / "cache"))
    code, text = run(capsys, *common)
    assert code == 0 and "samples: train 12, val 4, test 5" in text and not (tmp_path / "cache").exists()
    for part in ("licence: free", "float32 [1, 16, 32], 0 unlabelled", "mean_angle ↓", "the image itself"):
        assert part in text
    code, text = run(capsys, *common, "--check", "--show", str(tmp_path / "sheet.png"), "--samples", "1")
    assert code == 0 and "21 of 21 samples can be used." in text and "labels of train" in text
    assert (tmp_path / "sheet.png").stat().st_size > 10_000 and list((tmp_path / "cache").glob("mytoy-*/meta.json"))


def test_the_command_says_what_is_wrong_with_a_folder(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, text = run(capsys, "cityscapes", "--data", str(tmp_path))
    assert code == 0 and "not here: cityscapes was not found" in text and "leftImg8bit" in text
    for split, count in (("train", 8), ("val", 2)):
        for kind, shape in (("image", (128, 256, 3)), ("label", (128, 256)), ("depth", (128, 256, 1))):
            (tmp_path / split / kind).mkdir(parents=True)
            for number in range(count):
                np.save(tmp_path / split / kind / f"{number}.npy", np.zeros(shape, np.float32))
    (tmp_path / "train" / "depth" / "3.npy").unlink()
    (tmp_path / "train" / "label" / "readme.txt").write_text("x")
    code, text = run(capsys, "cityscapes", "--data", str(tmp_path), "--option", "classes=7", "--check")
    assert code == 1 and "9 of 10 samples can be used." in text
    assert "train/depth/3.npy is missing" in text and "label/readme.txt" in text


def test_data_behind_a_registration_are_not_downloaded(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(UserError, match=r"cityscapes cannot be downloaded directly\. Register at"):
        run(capsys, "cityscapes", "--data", str(tmp_path), "--download")


def test_scenes_that_two_splits_share_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Toy, "scene", lambda self, key: f"room {key[1] // 3}")
    shared = inspect_folder(toy(size=5)).shared_scenes
    assert shared == {
        ("train", "val"): ("room 0", "room 1"),
        ("train", "test"): ("room 0", "room 1"),
        ("val", "test"): ("room 0", "room 1"),
    }


def test_a_wrong_option_is_called_one() -> None:
    with pytest.raises(UserError, match=r"has no option 'sizes'.*Did you mean 'size'"):
        toy(sizes=3)
