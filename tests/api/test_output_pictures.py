"""Predictions on images without targets, as pictures."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from mtlbench.api.pictures import as_label, draw_sheet, output_legend, output_picture
from mtlbench.tasks import Attributes, Boundaries, Classification, Depth, Normals, Reconstruction, Saliency, Segmentation
from mtlbench.tasks.base import Task
from mtlbench.tasks.render import target_picture

DENSE: list[Task] = [
    Segmentation("s", 4),
    Depth("d", unit="m"),
    Normals("n"),
    Boundaries("b"),
    Saliency("l"),
    Reconstruction("r"),
]


def output(task: Task, size: tuple[int, int] = (6, 9)) -> torch.Tensor:
    return torch.randn(task.channels, *size, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("task", DENSE, ids=lambda task: task.kind)
def test_maps_are_pictures_of_their_own_size_without_unlabelled_pixels(task: Task) -> None:
    drawn = output_picture(task, output(task))
    assert isinstance(drawn, np.ndarray) and drawn.shape == (6, 9, 3) and drawn.dtype == np.uint8
    assert len(np.unique(drawn.reshape(-1, 3), axis=0)) > 1
    assert all("unlabelled" not in text for _, text in output_legend(task, output(task)))


def test_classes_have_the_colours_of_their_targets() -> None:
    task = Segmentation("s", 4, classes=("road", "sky", "car", "tree"))
    drawn = output_picture(task, output(task))
    assert np.array_equal(np.asarray(drawn), np.asarray(target_picture(task, output(task).argmax(0))))
    assert {text for _, text in output_legend(task, output(task))} <= {"road", "sky", "car", "tree"}


def test_depth_is_drawn_over_its_own_range_which_the_legend_says() -> None:
    task = Depth("d", unit="m")
    ramp = torch.linspace(5, 10, 200).reshape(1, 10, 20)
    drawn = np.asarray(output_picture(task, ramp), int).sum(axis=2)
    assert drawn[0, 0] < drawn[5, 0] < drawn[-1, -1]
    assert [text for _, text in output_legend(task, ramp)] == ["depth 5.1 m or less", "depth 9.9 m or more"]
    large = torch.rand(1, 5000, 4000)
    assert as_label(task, large).numel() < 300_000, "quantiles of all pixels of a photograph are refused by torch"


def test_labels_of_images_are_words() -> None:
    assert output_picture(Classification("c", 3), torch.tensor([0.0, 3.0, 1.0])) == "class 1"
    traits = Attributes("a", 3, names=("smiling", "hat", "beard"))
    assert output_picture(traits, torch.tensor([1.0, -1.0, 2.0])) == "smiling\nbeard"


def test_a_sheet_shows_the_image_and_every_output(tmp_path: Path) -> None:
    tasks = {task.name: task for task in (*DENSE, Classification("c", 3))}
    outputs = {name: output(task) if task.dense else torch.rand(3) for name, task in tasks.items()}
    draw_sheet(tmp_path / "folder" / "sheet.png", "title", torch.rand(3, 6, 9), outputs, tasks)
    sheet = np.asarray(Image.open(tmp_path / "folder" / "sheet.png").convert("RGB"))
    assert sheet.shape[1] > 7 * sheet.shape[0] / 2
    # Every column but that of words holds a picture.
    columns = np.array_split(sheet, 8, axis=1)
    assert sum(len(np.unique(column.reshape(-1, 3), axis=0)) > 20 for column in columns) >= 6
