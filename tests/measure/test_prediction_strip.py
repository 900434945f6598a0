"""Pictures to look at: contact sheets, and predictions under corruption."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from mtlbench.cli.main import main
from mtlbench.measure.prediction_strip import Selected, prediction_strip, strip
from mtlbench.tasks import Attributes, Boundaries, Classification, Depth, Normals, Reconstruction, Saliency, Segmentation
from mtlbench.tasks.base import Task
from mtlbench.tasks.render import prediction_picture, target_picture
from tests.measure.small_network import HEIGHT, TASKS, WIDTH, Small, split

SELECTED = Selected("toy · small · seed 0", "toy", TASKS, Small().eval(), split(images=3))


def normals(*directions: list[float]) -> torch.Tensor:
    """One pixel a direction: [3, 1, W]."""
    return torch.tensor(directions, dtype=torch.float32).T[:, None]


@pytest.mark.parametrize(
    ("task", "target", "prediction"),
    [
        (Segmentation("s", 4), torch.tensor([[0, 3, 255]]).byte(), torch.eye(4)[:, None, [0, 3, 1]]),
        (Depth("d"), torch.tensor([[[1.0, 2.0, 0.0]]]), torch.tensor([[[1.0, 2.0, 5.0]]])),
        (Normals("n"), normals([0, 0, 1], [1, 0, 0], [0, 0, 0]), normals([0, 0, 9], [5, 0, 0], [1, 0, 0])),
        (Boundaries("b"), torch.tensor([[[0, 1, 255]]]).byte(), torch.tensor([[[-99.0, 99, 0]]])),
        (Saliency("b"), torch.tensor([[[0, 1, 255]]]).byte(), torch.tensor([[[-99.0, 99, 0]]])),
        (Reconstruction("r"), torch.rand(3, 1, 3).nan_to_num(), None),
    ],
)
def test_a_right_prediction_looks_like_its_target(task: Task, target: torch.Tensor, prediction: torch.Tensor | None) -> None:
    prediction = target if prediction is None else prediction
    shown, expected = prediction_picture(task, prediction, target), target_picture(task, target)
    assert isinstance(shown, np.ndarray) and isinstance(expected, np.ndarray)
    assert shown.shape == expected.shape == (1, 3, 3) and shown.dtype == np.uint8
    assert np.array_equal(shown[:, :2], expected[:, :2])  # the third pixel has no label
    assert not np.array_equal(expected[0, 0], expected[0, 1])
    if not isinstance(task, Reconstruction):
        assert not expected[0, 2].any()


def test_labels_of_whole_images_are_words() -> None:
    kind, traits = Classification("k", 3), Attributes("a", 3)
    assert target_picture(kind, torch.tensor(2)) == "2"
    assert prediction_picture(kind, torch.tensor([0.0, 0, 1]), torch.tensor(2)) == "2 (right)"
    assert prediction_picture(kind, torch.tensor([0.0, 1, 0]), torch.tensor(2)) == "1 (wrong)"
    assert target_picture(traits, torch.tensor([1, 0, -1])) == "1 yes"
    assert prediction_picture(traits, torch.tensor([1.0, 1.0, 1.0]), torch.tensor([1, 0, -1])) == "1 of 2 right"


def test_a_strip_has_a_line_for_target_clean_and_every_corruption(tmp_path: Path) -> None:
    heads, lines = strip(SELECTED, 1, ["fog", "frost"], 5)
    assert heads == ["image", *(task.name for task in TASKS)]
    assert [title for title, _ in lines] == ["target", "clean", "fog 5", "frost* 5"]
    clean, foggy = lines[1][1], lines[2][1]
    assert isinstance(clean[0], np.ndarray) and np.array_equal(clean[0], SELECTED.test.images[1])
    assert not np.array_equal(clean[0], foggy[0]) and not np.array_equal(clean[1], foggy[1])
    prediction_strip(SELECTED, 1, tmp_path / "new" / "strip.png", ["fog"])
    with Image.open(tmp_path / "new" / "strip.png") as drawn:
        assert drawn.width > drawn.height > 0


@pytest.mark.parametrize("mode", ["RGB", "L"])
def test_contact_sheet_of_a_file(mode: str, tmp_path: Path) -> None:
    Image.fromarray(split(images=1).images[0]).convert(mode).save(tmp_path / "image.png")
    out = tmp_path / "sheet.png"
    assert main(["corrupt", str(tmp_path / "image.png"), str(out), "--corruption", "fog", "--corruption", "contrast"]) == 0
    with Image.open(out) as drawn:
        assert drawn.height > 2 * HEIGHT and drawn.width > 5 * WIDTH


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["{image}", "sheet.txt"], "name of a picture"),
        (["none.png", "{out}"], "no image none.png"),
        (["{broken}", "{out}"], "cannot be read"),
        (["{deep}", "{out}"], "8 bits"),
        (["{tiny}", "{out}"], "at least 32"),
        (["{image}", "{out}", "--corruption", "fogg"], "Did you mean 'fog'"),
        (["{image}", "{out}", "--network", "runs/x"], "the number of a test image"),
        (["0", "{out}", "--network", "runs/x"], "no finished trial"),
    ],
)
def test_mistakes_get_one_line(words: list[str], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    files = {name: tmp_path / f"{name}.png" for name in ("image", "out", "broken", "deep", "tiny")}
    Image.fromarray(split(images=1).images[0]).save(files["image"])
    Image.new("RGB", (20, 64)).save(files["tiny"])
    Image.fromarray(np.zeros((64, 64), np.uint16)).save(files["deep"])
    files["broken"].write_bytes(b"no image")
    assert main(["corrupt", *(word.format(**files) for word in words)]) == 2
    captured = capsys.readouterr().err
    assert message in captured and captured.count("\n") == 1
    assert not files["out"].exists()
