"""Multi-input data: folders of domains, and the embedded digits in styles; every sample has the label of one task."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from mtlbench.contract.dataset import BadSample
from mtlbench.data.sample_validation import validate_sample
from mtlbench.data.store import prepare
from mtlbench.datasets.domains import Domains
from mtlbench.datasets.multidomain import STYLES, MultiDomain
from mtlbench.errors import UserError

COUNT = 10
CLASSES = ("axe", "bird")


def domains(root: Path, **options: object) -> Domains:
    return Domains(root, Domains.configure({"size": 32, **options}, "domains"))


def multidomain(**options: object) -> MultiDomain:
    return MultiDomain(None, MultiDomain.configure(options, "multidomain"))


def colour(domain: str, name: str, number: int) -> tuple[int, int, int]:
    return (100 if domain == "real" else 200), (50 if name == "axe" else 150), 10 * number


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    for domain in ("sketch", "real"):
        for name in CLASSES:
            (tmp_path / "domains" / domain / name).mkdir(parents=True)
            for number in range(COUNT):
                pixels = np.zeros((40, 60, 3), np.uint8)  # the middle square has the colour, the sides are black
                pixels[:, 10:50] = colour(domain, name, number)
                Image.fromarray(pixels).save(tmp_path / "domains" / domain / name / f"{number:02}.png")
    (tmp_path / "domains" / "notes").mkdir()
    (tmp_path / "domains" / "sketch" / "axe" / "Thumbs.db").write_bytes(b"x")
    return tmp_path


def write_lists(tree: Path) -> None:
    for domain in ("sketch", "real"):
        lines = [f"{domain}/{name}/{n:02}.png {c}\n" for c, name in enumerate(CLASSES) for n in range(COUNT)]
        (tree / "domains" / f"{domain}_train.txt").write_text("".join(lines[1::2]))
        (tree / "domains" / f"{domain}_test.txt").write_text("".join(lines[::2]))


@pytest.mark.parametrize("lists", [False, True])
def test_every_domain_is_a_task_with_images_of_its_own(tree: Path, tmp_path: Path, lists: bool) -> None:
    if lists:
        write_lists(tree)
    source = domains(tree)
    assert [(task.name, task.channels) for task in source.tasks] == [("real", 2), ("sketch", 2)]
    index = source.index()
    every = [key for keys in index.values() for key in keys]
    assert len(every) == len(set(every)) == 4 * COUNT
    numbers = {split: sorted({int(str(key[2])[:2]) for key in keys}) for split, keys in index.items()}  # type: ignore[index]
    if lists:
        assert (
            numbers == {"train": [1, 3, 5, 7, 9], "val": [], "test": [0, 2, 4, 6, 8]} and "official" in source.split_rule()
        )
        return
    assert numbers == {"train": [0, 1, 2, 3, 5, 6, 8], "val": [7], "test": [4, 9]}
    prepared = prepare(source, "domains", tmp_path / "cache")
    for split in prepared.splits.values():
        batch = split.batch(torch.arange(len(split)))
        assert batch.rows is not None and sum(map(len, batch.rows.values())) == len(split)
        for row, name in enumerate(split.ids):
            domain, kind, file = name.split("/")
            assert (np.asarray(split.images[row]) == colour(domain, kind, int(file[:2]))).all()
            other = "sketch" if domain == "real" else "real"
            assert batch.targets[domain][row] == CLASSES.index(kind) and batch.targets[other][row] == -1
    assert len(source.files()) == 4 * COUNT


def test_domains_can_be_chosen_and_ordered(tree: Path) -> None:
    assert [task.name for task in domains(tree, domains=("sketch", "real")).tasks] == ["sketch", "real"]
    assert [task.name for task in domains(tree / "domains", domains=("sketch",)).tasks] == ["sketch"]
    with pytest.raises(UserError, match=r"no folder 'skech' .* Did you mean 'sketch'"):
        _ = domains(tree, domains=("skech",)).tasks


def test_problems_are_named(tree: Path, tmp_path: Path) -> None:
    path = tree / "domains" / "real" / "axe" / "03.png"
    path.write_bytes(path.read_bytes()[:60])
    with pytest.raises(BadSample, match=r"03\.png"):
        domains(tree).load(("real", "axe", "03.png"))
    with pytest.raises(BadSample, match="expected"):
        domains(tree).load(("real", "dog", "03.png"))
    write_lists(tree)
    (tree / "domains" / "real_test.txt").write_text("real/dog/1.png 5\n")
    with pytest.raises(UserError, match=r"line 1 of .*real_test\.txt"):
        domains(tree).index()
    (tree / "domains" / "real_test.txt").unlink()
    with pytest.raises(UserError, match=r"real_test\.txt is missing .*either all domains have lists"):
        domains(tree).index()
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match="domains was not found"):
        _ = domains(tmp_path / "empty").tasks
    with pytest.raises(UserError, match="domains was not found"):
        domains(tmp_path / "empty").index()


def test_digits_in_styles_share_no_picture_and_have_one_label() -> None:
    dataset = multidomain()
    index = dataset.index()
    assert [len(index[split]) for split in ("train", "val", "test")] == [4400, 297, 400]
    sources = {split: {key[1] for key in keys} for split, keys in index.items()}  # type: ignore[index]
    assert not sources["train"] & sources["val"] and not sources["val"] & sources["test"]
    for split, keys in index.items():
        for key in [*keys[:6], keys[-1]]:
            sample = dataset.load(key)
            validate_sample(sample, dataset.tasks, dataset.image_size)
            assert set(sample) == {"image", dataset.style(int(key[1]))}  # type: ignore[index]
            assert dataset.scene(key) == str(key[1]) and split == key[0]  # type: ignore[index]
    assert np.array_equal(multidomain().load(("val", 1200, 0))["image"], dataset.load(("val", 1200, 0))["image"])
    first, second = (dataset.load(("train", 0, copy)) for copy in (0, 1))
    assert first["ink"] == second["ink"] and not np.array_equal(first["image"], second["image"])
    assert not np.array_equal(multidomain(seed=1).load(("val", 1200, 0))["image"], dataset.load(("val", 1200, 0))["image"])
    with pytest.raises(BadSample, match="expected"):
        dataset.load(("train", 5))


def test_styles_look_different_and_all_digits_occur() -> None:
    dataset = multidomain()
    pictures: dict[str, list[float]] = {style: [] for style in STYLES}
    digits: dict[str, set[int]] = {style: set() for style in STYLES}
    for key in dataset.index()["test"]:
        sample, style = dataset.load(key), dataset.style(int(key[1]))  # type: ignore[index]
        pictures[style].append(float(sample["image"].mean()))
        digits[style].add(int(sample[style]))
    assert all(labels == set(range(10)) for labels in digits.values())
    assert np.mean(pictures["chalk"]) < 100 < 150 < np.mean(pictures["ink"])
