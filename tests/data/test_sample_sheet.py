"""The sheet of samples: every kind of target is drawn, what is unlabelled can be told apart, legends say what is shown."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from mtlbench.contract import Key, Sample
from mtlbench.data.sample_sheet import draw_samples, evenly_spread
from mtlbench.data.store import Prepared, prepare
from mtlbench.data.target_pictures import UNLABELLED_COLOUR, legend, picture, unlabelled
from mtlbench.errors import UserError
from mtlbench.tasks import Attributes, Boundaries, Classification, Depth, Normals, Saliency, Segmentation
from tests.data.toys import Toy, toy


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Prepared:
    return prepare(toy(), "toy", tmp_path_factory.mktemp("cache"))


class Apart(Toy):
    """Sample i has a target of one task only."""

    multi_input = True

    def load(self, key: Key) -> Sample:
        assert isinstance(key, tuple)
        sample = super().load(key)
        name = self.tasks[key[1] % 5].name
        return {"image": sample["image"], **({name: sample[name]} if name in sample else {})}


def test_a_sheet_has_one_row_per_sample_and_one_column_per_task(prepared: Prepared, tmp_path: Path) -> None:
    draw_samples(prepared, tmp_path / "new" / "sheet.png", per_split=1)
    with Image.open(tmp_path / "new" / "sheet.png") as image:
        wide, high = image.size
        pixels = np.asarray(image.convert("RGB"))
    assert wide > 7 * 150 and high > 3 * 100
    assert (pixels == UNLABELLED_COLOUR).all(2).sum() > 200  # every toy map has unlabelled pixels


def test_only_pictures_are_written(prepared: Prepared, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"sheet\.txt: expected the name of a picture"):
        draw_samples(prepared, tmp_path / "sheet.txt", per_split=1)


def test_samples_are_spread_over_a_split(prepared: Prepared) -> None:
    split = prepared.splits["train"]
    assert evenly_spread(split, 3) == [0, 6, 11] and evenly_spread(split, 1) == [0]
    assert evenly_spread(split, 100) == list(range(12))


def test_every_task_of_multi_input_data_is_shown(tmp_path: Path) -> None:
    data = prepare(toy(Apart), "toy", tmp_path)
    split = data.splits["train"]
    places = evenly_spread(split, 1)
    for task in split.tasks[:5]:
        assert not split.labelled[task.name].any() or any(split.labelled[task.name][place] for place in places)
    draw_samples(data, tmp_path / "sheet.png", per_split=1)


def test_what_is_unlabelled_is_marked() -> None:
    label = torch.tensor([[0, 255], [1, 2]], dtype=torch.uint8)
    depth = torch.tensor([[[0.0, 1.0], [2.0, torch.nan]]])
    normals = torch.zeros(3, 2, 2)
    normals[2, 0] = -1
    edges = torch.tensor([[[0, 1], [255, 1]]], dtype=torch.uint8)
    for task, target, expected in (
        (Segmentation("s", 3), label, [[0, 1], [0, 0]]),
        (Depth("d"), depth, [[1, 0], [0, 1]]),
        (Normals("n"), normals, [[0, 0], [1, 1]]),
        (Boundaries("b"), edges, [[0, 0], [1, 0]]),
        (Saliency("b"), edges, [[0, 0], [1, 0]]),
    ):
        expected_mask = np.array(expected, bool)
        assert np.array_equal(unlabelled(task, target), expected_mask)
        drawn = picture(task, target)
        assert isinstance(drawn, np.ndarray) and np.array_equal((drawn == UNLABELLED_COLOUR).all(2), expected_mask)


def test_labels_that_are_no_maps_are_written_out() -> None:
    names = Attributes("a", 3, names=("smiles", "hat", "beard"))
    assert picture(names, torch.tensor([1, 0, 1], dtype=torch.int8)) == "smiles\nbeard"
    assert picture(names, torch.tensor([0, -1, 0], dtype=torch.int8)) == "(none)\n(1 unlabelled)"
    assert picture(Classification("c", 4), torch.tensor(3, dtype=torch.int16)) == "class 3"
    assert picture(Classification("c", 4), torch.tensor(-1, dtype=torch.int16)) == "no label"


def test_legends_name_the_classes_that_are_shown_in_their_colours() -> None:
    task = Segmentation("s", 3, ("road", "car", "sky"))
    target = torch.tensor([[0, 2, 255]], dtype=torch.uint8)
    entries = legend(task, [target])
    assert [text for _, text in entries] == ["road", "sky", "unlabelled"]
    drawn = picture(task, target)
    assert isinstance(drawn, np.ndarray)
    assert [list(colour) for colour, _ in entries if colour is not None] == drawn[0].tolist()
    assert "1/m" in legend(Depth("d", inverse=True, unit="1/m"), [])[0][1]
