"""Augmentation changes images and targets alike, and a sample's result does not depend on its batch."""

import numpy as np
import pytest
import torch
from numpy.typing import ArrayLike

from mtlbench.contract.batch import Batch
from mtlbench.contract.dataset import Augmentation
from mtlbench.data.augment import CropAndFlip, augment, random_crop_and_flip
from mtlbench.tasks import Boundaries, Classification, Depth, Normals, Reconstruction, Segmentation

TASKS = (
    Segmentation("segmentation", 200),
    Depth("depth"),
    Depth("inverse", inverse=True),
    Normals("normals"),
    Boundaries("boundaries"),
    Classification("kind", 1000),
    Reconstruction("again"),
)
HEIGHT, WIDTH = 24, 40


def make(count: int, seed: int = 0) -> Batch:
    """Samples whose image says what the label is: red = label / 255, constant on blocks of 8 pixels."""
    rng = np.random.default_rng(seed)
    label = rng.integers(0, 200, (count, HEIGHT // 8, WIDTH // 8)).astype(np.uint8).repeat(8, 1).repeat(8, 2)
    image = np.stack([label, *np.moveaxis(rng.integers(0, 256, (count, HEIGHT, WIDTH, 2)), 3, 0)], 1) / 255
    depth = rng.uniform(0.5, 2, (count, 1, HEIGHT, WIDTH)).astype(np.float32)
    normals = rng.normal(size=(count, 3, HEIGHT, WIDTH)).astype(np.float32)
    normals /= np.linalg.norm(normals, axis=1, keepdims=True)
    normals[:, :, :2] = 0
    targets = {
        "segmentation": label,
        "depth": depth,
        "inverse": 1 / depth,
        "normals": normals,
        "boundaries": rng.choice([0, 1, 255], (count, 1, HEIGHT, WIDTH)).astype(np.uint8),
        "kind": rng.integers(-1, 1000, count).astype(np.int16),
    }
    tensors = {name: torch.from_numpy(value) for name, value in targets.items()}
    pixels = torch.from_numpy(image.astype(np.float32)).contiguous(memory_format=torch.channels_last)
    labelled = {task.name: torch.ones(count, dtype=torch.bool) for task in TASKS}
    return Batch(pixels, tensors | {"again": pixels}, labelled, torch.arange(count))


def crop(zoom: ArrayLike, flip: ArrayLike, top: float = 0.3, left: float = 0.6) -> CropAndFlip:
    zooms, flips = np.atleast_1d(np.asarray(zoom, np.float64)), np.atleast_1d(np.asarray(flip, bool))
    return CropAndFlip(zooms, np.full(len(zooms), top), np.full(len(zooms), left), flips)


def rows_of(batch: Batch, rows: list[int]) -> Batch:
    return Batch(
        batch.image[rows],
        {name: target[rows] for name, target in batch.targets.items()},
        {name: flags[rows] for name, flags in batch.labelled.items()},
        batch.index[rows],
    )


def same(a: Batch, b: Batch) -> bool:
    return torch.equal(a.image, b.image) and all(torch.equal(a.targets[name], b.targets[name]) for name in a.targets)


def test_nothing_to_do_is_nothing_done() -> None:
    batch = make(3)
    assert augment(batch, TASKS, crop([1, 1, 1], [0, 0, 0])) is batch


def test_images_of_their_own_size_are_untouched_beside_others() -> None:
    batch = make(3)
    moved = augment(batch, TASKS, crop([1, 1.5, 1], [0, 0, 0]))
    assert same(rows_of(moved, [0, 2]), rows_of(batch, [0, 2])) and not same(moved, batch)


def test_flipping_twice_is_the_identity_and_once_mirrors() -> None:
    batch = make(2)
    once = augment(batch, TASKS, crop([1, 1], [1, 1]))
    assert torch.equal(once.image, batch.image.flip(-1))
    assert torch.equal(once.targets["segmentation"], batch.targets["segmentation"].flip(-1))
    assert torch.equal(once.targets["normals"][:, 0], -batch.targets["normals"][:, 0].flip(-1))
    assert torch.equal(once.targets["normals"][:, 1:], batch.targets["normals"][:, 1:].flip(-1))
    assert same(augment(once, TASKS, crop([1, 1], [1, 1])), batch)


@pytest.mark.parametrize("zoom", [1.2, 1.5, 3.0])
@pytest.mark.parametrize("flip", [False, True])
def test_image_and_label_stay_aligned(zoom: float, flip: bool) -> None:
    moved = augment(make(4), TASKS, crop([zoom] * 4, [flip] * 4))
    label, red = moved.targets["segmentation"].float(), moved.image[:, 0] * 255
    inside = torch.nn.functional.max_pool2d(label[:, None], 5, 1, 2)[:, 0] == label
    inside &= -torch.nn.functional.max_pool2d(-label[:, None], 5, 1, 2)[:, 0] == label
    inside[:, [0, 1, -2, -1]] = inside[..., [0, 1, -2, -1]] = False  # the image blends with what lies beyond the crop
    assert inside.float().mean() > 0.1
    assert (label - red)[inside].abs().max() < 1e-3


@pytest.mark.parametrize("zoom", [1.2, 2.0])
def test_depth_is_divided_and_inverse_depth_multiplied(zoom: float) -> None:
    batch = make(2)
    moved = augment(batch, TASKS, crop([zoom] * 2, [0, 1]))
    product = moved.targets["depth"] * moved.targets["inverse"]
    assert torch.allclose(product, torch.ones_like(product), atol=1e-5)
    for name, factor in (("depth", 1 / zoom), ("inverse", zoom)):
        assert (
            torch.isin((moved.targets[name] / factor * 1e4).round(), (batch.targets[name] * 1e4).round()).float().mean()
            > 0.99
        )


def test_normals_of_a_rendered_plane_fit_its_augmented_depth() -> None:
    # On a plane with normal n, inverse depth is linear in the pixel: its slope is -(n_x, n_y) f and its value at the
    # optical axis -n_z, up to one factor. A zoom about the axis must keep that relation between depth and normals.
    normal = np.array([0.48, -0.36, -0.8])
    x = (np.arange(WIDTH) + 0.5 - WIDTH / 2) / WIDTH
    y = (np.arange(HEIGHT) + 0.5 - HEIGHT / 2) / WIDTH
    inverse = -(normal[0] * x[None, :] + normal[1] * y[:, None] + normal[2])
    batch = make(1)
    batch.targets["inverse"] = torch.from_numpy(inverse[None, None].astype(np.float32))
    batch.targets["normals"] = torch.from_numpy(normal.astype(np.float32))[None, :, None, None].expand(1, 3, HEIGHT, WIDTH)
    for flip in (False, True):
        moved = augment(batch, TASKS, crop(2.0, flip, top=0.5, left=0.5))
        after = moved.targets["normals"][0, :, HEIGHT // 2, WIDTH // 2].double().numpy()
        design = np.stack([*np.meshgrid(x, y), np.ones((HEIGHT, WIDTH))], -1).reshape(-1, 3)
        fitted = -np.linalg.lstsq(design, moved.targets["inverse"].double().numpy().ravel(), rcond=None)[0]
        assert np.allclose(after, fitted / np.linalg.norm(fitted), atol=5e-3)


def test_invalid_stays_invalid_and_whole_image_targets_stay() -> None:
    batch = make(3)
    for target in (batch.targets["depth"], batch.targets["normals"]):
        target.zero_()
    batch.targets["segmentation"].fill_(255)
    moved = augment(batch, TASKS, crop([1.2, 1.5, 1], [0, 1, 1]))
    assert not moved.targets["depth"].any() and not moved.targets["normals"].any()
    assert (moved.targets["segmentation"] == 255).all()
    assert moved.targets["kind"] is batch.targets["kind"]
    assert torch.isin(moved.targets["boundaries"], torch.tensor([0, 1, 255], dtype=torch.uint8)).all()


def test_outside_the_image_is_mean_colour_and_invalid() -> None:
    moved = augment(make(2), TASKS, crop([0.5, 1], [0, 0], top=0, left=0), fill=(0.1, 0.2, 0.3))
    outside = torch.ones(HEIGHT, WIDTH, dtype=torch.bool)
    outside[: HEIGHT // 2, : WIDTH // 2] = False
    assert torch.equal(moved.image[0, :, outside].unique(dim=1)[:, 0], torch.tensor([0.1, 0.2, 0.3]))
    assert (moved.targets["segmentation"][0] == 255).equal(outside)
    assert (moved.targets["depth"][0, 0] == 0).equal(outside)
    assert (moved.targets["again"][0].isnan().all(0)).equal(outside)
    assert not moved.image.isnan().any() and not moved.targets["again"][1].isnan().any()


def test_a_sample_is_augmented_alike_in_any_batch() -> None:
    batch = make(12)
    augmentation = Augmentation((0.8, 1.0, 1.2, 1.5), flip=True)
    everything = augment(batch, TASKS, random_crop_and_flip(augmentation, 3, 5, np.arange(12)), (0.5, 0.5, 0.5))
    for rows in ([4], [11, 0, 3], [7, 8, 9, 10, 1]):
        part = rows_of(batch, rows)
        moved = augment(part, TASKS, random_crop_and_flip(augmentation, 3, 5, np.array(rows)), (0.5, 0.5, 0.5))
        expected = rows_of(everything, rows)
        assert torch.equal(moved.image, expected.image)
        for name in moved.targets:
            assert torch.equal(moved.targets[name].nan_to_num(-1), expected.targets[name].nan_to_num(-1)), name


def test_reconstruction_follows_the_image_and_the_source_is_kept() -> None:
    batch = make(3)
    before = batch.image.clone()
    moved = augment(batch, TASKS, crop([1.5, 1.2, 1], [1, 0, 1]))
    assert torch.equal(moved.targets["again"], moved.image)
    assert torch.equal(batch.image, before) and batch.targets["again"] is batch.image
    assert moved.image.is_contiguous(memory_format=torch.channels_last)


def test_draws_use_every_zoom_and_flip_half_the_time() -> None:
    drawn = random_crop_and_flip(Augmentation((1.0, 1.2, 1.5), flip=True), 0, 0, np.arange(3000))
    for zoom in (1.0, 1.2, 1.5):
        assert abs((drawn.zoom == zoom).mean() - 1 / 3) < 0.04
    assert abs(drawn.flip.mean() - 0.5) < 0.04
    assert not random_crop_and_flip(Augmentation((1.2,)), 0, 0, np.arange(100)).flip.any()
