"""`mtlbench predict` and `mtlbench export`."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mtlbench.api import Trained, exporting
from mtlbench.api.exporting import Exported
from mtlbench.cli.main import main
from mtlbench.cli.predict import image_files, unique_names
from mtlbench.errors import UserError
from tests.finished_trials import finished


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Two images of one name in two folders."""
    generator = np.random.default_rng(0)
    for name in ("photos/a.png", "photos/deep/a.jpg"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(generator.integers(0, 256, (30, 45, 3), dtype=np.uint8)).save(tmp_path / name)
    (tmp_path / "photos" / "notes.txt").write_text("no image")
    return tmp_path / "photos"


def test_folders_files_and_patterns_name_images_once(photos: Path) -> None:
    both = [photos / "a.png", photos / "deep" / "a.jpg"]
    assert image_files([str(photos)]) == both
    assert image_files([str(photos / "**" / "*.jpg"), str(photos / "a.png")]) == both[::-1]
    assert image_files([str(photos), str(photos / "a.png")]) == both
    assert unique_names(both) == ["a", "a-2"]


@pytest.mark.parametrize(
    ("name", "message"), [("none.png", "no image"), ("*.gif", "No file matches"), ("empty", "has no image")]
)
def test_what_is_no_image_is_refused(name: str, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match=message):
        image_files([name])


def test_every_image_gets_a_picture_per_task_and_a_sheet(
    photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    assert main(["predict", finished().id, str(photos), "--out", str(out), "--arrays", *finished().options]) == 0
    tasks = ["segmentation", "depth", "normals", "boundaries"]
    for stem in ("a", "a-2"):
        for task in tasks:
            assert Image.open(out / f"{stem}-{task}.png").size == (45, 30), "the image's own size"
        assert Image.open(out / f"{stem}.png").size[0] > 5 * 100
        arrays = np.load(out / f"{stem}.npz")
        assert set(arrays) == set(tasks) and arrays["depth"].shape == (30, 45)
    assert "12 files in" in capsys.readouterr().out.replace("\n", " ")


def test_chosen_tasks_at_another_size(photos: Path, tmp_path: Path) -> None:
    words = [
        "predict",
        finished().id,
        str(photos / "a.png"),
        "--out",
        str(tmp_path / "out"),
        "--task",
        "depth",
        "--size",
        "64x96",
    ]
    assert main([*words, *finished().options]) == 0
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["a-depth.png", "a.png"]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["predict", "ID", "none.png"], "There is no image none.png"),
        (["predict", "ID", "image.png", "--size", "64"], "expected height and width, such as 128x256"),
        (["predict", "ID", "image.png", "--task", "dept"], "Did you mean 'depth'"),
        (["predict", "ID", "text.png"], "cannot be read as an image"),
        (["predict", "hard_sharing", "image.png"], "give the id of one"),
        (["predict", "nothing", "image.png"], "has no record or row 'nothing'"),
        (["export", "ID", "network.pth"], "expected a name that ends in .pt2"),
        (["export", "ID", "text.png/network.pt2"], "text.png"),
    ],
)
def test_mistakes_are_one_line(
    words: list[str], message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    Image.new("RGB", (8, 8)).save("image.png")
    Path("text.png").write_text("no image")
    words = [finished().id if word == "ID" else word for word in words]
    assert main([*words, *finished().options]) == 2
    err = capsys.readouterr().err
    assert message in err and len(err.strip().splitlines()) == 1


def test_export_says_what_it_compared(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def export(trained: Trained, path: Path) -> Exported:
        return Exported(path, 2_500_000, trained.image_size, dict.fromkeys(trained.tasks, 2e-7))

    monkeypatch.setattr(exporting, "export", export)  # which takes long, and has tests of its own
    assert main(["export", finished().id, str(tmp_path / "network.pt2"), *finished().options]) == 0
    said = capsys.readouterr().out
    assert "(2.5 MB), streets · hard_sharing · seed 0" in said
    assert "depth 2e-07, normals" in said and "allowed: 0.0001" in said
    assert "float32 [batch, 3, 32, 64] in [0, 1]; outputs: segmentation, depth, normals, boundaries" in said
