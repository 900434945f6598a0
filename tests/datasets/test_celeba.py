"""CelebA, from a small tree in torchvision's layout."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from mtlbench.contract.dataset import BadSample
from mtlbench.data.store import prepare
from mtlbench.datasets.celeba import NAMES, CelebA
from mtlbench.errors import UserError

COUNT = 12


def dataset(root: Path, **options: object) -> CelebA:
    return CelebA(root, CelebA.configure(options, "celeba"))


def labels() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 2, (COUNT, 40))


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    root = tmp_path / "celeba"
    (root / "img_align_celeba").mkdir(parents=True)
    names = [f"{number + 1:06}.jpg" for number in range(COUNT)]
    rows = [f"{name} {' '.join('1' if yes else '-1' for yes in row)}" for name, row in zip(names, labels(), strict=True)]
    (root / "list_attr_celeba.txt").write_text("\n".join([str(COUNT), " ".join(NAMES) + " ", *rows]) + "\n")
    (root / "list_eval_partition.txt").write_text("".join(f"{name} {min(n // 4, 2)}\n" for n, name in enumerate(names)))
    (root / "identity_CelebA.txt").write_text("".join(f"{name} {100 + n // 2}\n" for n, name in enumerate(names)))
    for number, name in enumerate(names):
        pixels = np.full((218, 178, 3), 20 * number, np.uint8)
        pixels[:20] = 255
        Image.fromarray(pixels).save(root / "img_align_celeba" / name, quality=95)
    return root


def test_forty_tasks_and_official_splits(tree: Path, tmp_path: Path) -> None:
    source = dataset(tree.parent)
    assert [task.name for task in source.tasks] == list(NAMES) and len(set(NAMES)) == 40
    prepared = prepare(source, "celeba", tmp_path / "cache")
    assert prepared.splits["val"].ids == ("000005.jpg", "000006.jpg", "000007.jpg", "000008.jpg")
    assert prepared.splits["train"].scenes == ("100", "100", "101", "101")
    for start, split in ((0, "train"), (4, "val"), (8, "test")):
        batch = prepared.splits[split].batch(torch.arange(4))
        for column, name in enumerate(NAMES):
            assert batch.targets[name][:, 0].tolist() == labels()[start : start + 4, column].tolist()
        assert abs(int(prepared.splits[split].images[1, 40, 32, 0]) - 20 * (start + 1)) <= 2
    assert {path.name for path in source.files()} >= {"list_attr_celeba.txt", "000012.jpg"}


def test_groups_of_attributes_are_tasks(tree: Path) -> None:
    source = dataset(tree, groups={"hair": ("Bald", "Bangs"), "rest": ("*",)})
    assert [task.channels for task in source.tasks] == [2, 38]
    row = labels()[3]
    sample = source.load("000004.jpg")
    assert sample["hair"].tolist() == row[4:6].tolist()
    assert sample["rest"].tolist() == [*row[:4], *row[6:]]
    assert dataset(tree, groups={"all": ("*",)}).tasks[0].channels == 40
    with pytest.raises(UserError, match=r"names 'Bold'. Did you mean 'Bald'"):
        dataset(tree, groups={"hair": ("Bold",)})
    with pytest.raises(UserError, match="no attributes"):
        dataset(tree, groups={"a": NAMES, "b": ("*",)})


def test_a_square_crop_leaves_the_top_out(tree: Path) -> None:
    whole, square = (dataset(tree, crop=crop).load("000001.jpg")["image"] for crop in ("none", "square"))
    assert whole.shape == square.shape == (64, 64, 3)
    assert whole[2].min() > 240 and square[2].max() < 15


def test_bad_files_are_named(tree: Path) -> None:
    path = tree / "img_align_celeba" / "000002.jpg"
    path.write_bytes(path.read_bytes()[:400])
    with pytest.raises(BadSample, match=r"000002\.jpg"):
        dataset(tree).load("000002.jpg")
    path.unlink()
    with pytest.raises(BadSample, match=r"000002\.jpg is missing"):
        dataset(tree).load("000002.jpg")
    with pytest.raises(BadSample, match=r"list_attr_celeba\.txt has no line for x\.jpg"):
        dataset(tree).load("x.jpg")


@pytest.mark.parametrize(
    ("name", "change", "message"),
    [
        ("list_attr_celeba.txt", lambda text: text.replace("-1", "0", 1), "line 3 .* is not 40 times 1 or -1"),
        ("list_attr_celeba.txt", lambda text: text.replace("Bald", "Bold"), "does not name the 40 attributes"),
        ("list_eval_partition.txt", lambda text: text.replace(" 1\n", " 7\n", 1), "split '7', expected 0, 1 or 2"),
        ("list_eval_partition.txt", lambda text: text.replace(" 1\n", "\n", 1), "expected a file name and a number"),
    ],
)
def test_damaged_lists_are_named(tree: Path, name: str, change: Callable[[str], str], message: str) -> None:
    (tree / name).write_text(change((tree / name).read_text()))
    with pytest.raises(UserError, match=message) as caught:
        source = dataset(tree)
        source.load(source.index()["train"][0])
    assert str(tree / name) in str(caught.value)


def test_without_data_the_error_says_everything(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="celeba was not found") as caught:
        dataset(tmp_path).index()
    for part in (str(tmp_path), "img_align_celeba", "mmlab", "--data"):
        assert part in str(caught.value)
    (tmp_path / "list_attr_celeba.txt").write_text("")
    with pytest.raises(UserError, match="img_align_celeba is missing"):
        dataset(tmp_path).index()
