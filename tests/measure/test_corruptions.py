"""The corruption suite: equal to the reference where it is deterministic, equally distributed where it is not."""

from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from mtlbench.errors import UserError
from mtlbench.measure import corrupt
from mtlbench.measure.corruptions import (
    COMMON,
    CORRUPTIONS,
    EXTRA,
    GEOMETRY_PRESERVING,
    QUICK,
    SEVERITIES,
    draw_corruptions,
    label,
    suite_version,
)
from mtlbench.measure.corruptions.blur import glass_sources
from mtlbench.measure.corruptions.draws import Draws, image_digests

GOLDEN = np.load(Path(__file__).parent.parent / "golden" / "corruptions.npz")
DETERMINISTIC = tuple(name for name in CORRUPTIONS if name in GOLDEN)
STOCHASTIC = tuple(name for name in CORRUPTIONS if f"{name}_example" in GOLDEN)
EVERY_CELL = [(name, severity) for name in CORRUPTIONS for severity in SEVERITIES]
CPU = torch.device("cpu")


def as_batch(image: np.ndarray) -> Tensor:
    return torch.from_numpy(image).permute(2, 0, 1)[None].contiguous()


def random_images(count: int, channels: int = 3, height: int = 40, width: int = 56) -> Tensor:
    """Smooth shapes with some noise on them, uint8."""
    generator = torch.Generator().manual_seed(count)
    coarse = torch.rand(count, channels, 5, 7, generator=generator)
    smooth = torch.nn.functional.interpolate(coarse, size=(height, width), mode="bilinear")
    return (smooth * 230 + 25 * torch.rand(smooth.shape, generator=generator)).to(torch.uint8)


PHOTO = as_batch(GOLDEN["image"])


@pytest.mark.parametrize("severity", SEVERITIES)
@pytest.mark.parametrize("name", DETERMINISTIC)
def test_deterministic_corruptions_match_the_reference(name: str, severity: int) -> None:
    ours = corrupt(PHOTO, name, severity, keys=["photo"])[0].permute(1, 2, 0).numpy().astype(float)
    difference = np.abs(ours - GOLDEN[name][severity - 1])
    if name == "jpeg_compression":  # codecs differ
        assert difference.mean() <= 1.5
    else:
        assert difference.mean() <= 0.1  # the tolerance is 0.5
        assert difference.max() <= 3


@pytest.mark.parametrize("severity", SEVERITIES)
@pytest.mark.parametrize("name", STOCHASTIC)
def test_stochastic_corruptions_are_distributed_like_the_reference(name: str, severity: int) -> None:
    # Fog, frost and snow vary so much from draw to draw that a mean of few draws says little.
    seeds = 160 if name in ("fog", "frost", "snow") else 40
    ours = corrupt(PHOTO.expand(seeds, -1, -1, -1), name, severity, keys=range(seeds)).permute(0, 2, 3, 1).numpy()
    to_clean = np.abs(ours.astype(float) - GOLDEN["image"]).mean((1, 2, 3))
    level = ours.mean((1, 2, 3))
    for measured, statistic in ((to_clean, "mad_to_clean"), (level, "mean_level")):
        mean, deviation = GOLDEN[f"{name}_{statistic}_mean_std"][severity - 1]
        # The reference is a mean of 20 draws.
        by_chance = 3 * np.hypot(deviation / np.sqrt(20), measured.std() / np.sqrt(seeds))
        assert abs(measured.mean() - mean) <= 3 * deviation
        assert abs(measured.mean() - mean) <= max(0.05 * mean, by_chance)


@pytest.mark.parametrize(("name", "severity"), EVERY_CELL)
def test_result_depends_on_the_image_alone(name: str, severity: int) -> None:
    images = random_images(32)
    keys = [f"frame {i}" for i in range(32)]
    together = corrupt(images, name, severity, keys=keys)
    assert together.dtype == torch.uint8
    assert together.shape == images.shape
    assert together.is_contiguous()
    sevens = [corrupt(images[i : i + 7], name, severity, keys=keys[i : i + 7]) for i in range(0, 32, 7)]
    alone = [corrupt(images[i : i + 1], name, severity, keys=keys[i : i + 1]) for i in range(32)]
    backwards = corrupt(images.flip(0), name, severity, keys=keys[::-1]).flip(0)
    assert torch.equal(together, torch.cat(sevens))
    assert torch.equal(together, torch.cat(alone))
    assert torch.equal(together, backwards)


@pytest.mark.parametrize("name", CORRUPTIONS)
def test_layout_in_memory_does_not_matter(name: str) -> None:
    images = random_images(2)
    other = images.contiguous(memory_format=torch.channels_last)
    assert torch.equal(corrupt(images, name, 3, keys=[1, 2]), corrupt(other, name, 3, keys=[1, 2]))


@pytest.mark.parametrize("name", CORRUPTIONS)
def test_threads_and_default_dtype_do_not_matter(name: str) -> None:
    images = random_images(2, height=130, width=200)
    base = corrupt(images, name, 5, keys=[1, 2])
    threads, dtype = torch.get_num_threads(), torch.get_default_dtype()
    try:
        torch.set_num_threads(3)
        torch.set_default_dtype(torch.float64)
        assert torch.equal(base, corrupt(images, name, 5, keys=[1, 2]))
    finally:
        torch.set_num_threads(threads)
        torch.set_default_dtype(dtype)


@pytest.mark.parametrize("name", CORRUPTIONS)
def test_input_is_left_alone_and_calls_repeat(name: str) -> None:
    images = random_images(2)
    before = images.clone()
    first = corrupt(images, name, 4, keys=[1, 2], dataset="streets")
    assert torch.equal(images, before)
    assert torch.equal(first, corrupt(images, name, 4, keys=torch.tensor([1, 2]), dataset="streets"))


@pytest.mark.parametrize("name", [name for name, c in CORRUPTIONS.items() if c.stochastic])
def test_random_numbers_follow_key_dataset_and_seed(name: str) -> None:
    image = random_images(1)
    base = corrupt(image, name, 3, keys=[1])
    assert torch.equal(base, corrupt(image, name, 3, keys=["1"]))
    assert not torch.equal(base, corrupt(image, name, 3, keys=[2]))
    assert not torch.equal(base, corrupt(image, name, 3, keys=[1], dataset="streets"))
    assert not torch.equal(base, corrupt(image, name, 3, keys=[1], seed=1))


@pytest.mark.parametrize("name", [name for name, c in CORRUPTIONS.items() if not c.stochastic])
def test_corruptions_said_to_be_deterministic_ignore_the_key(name: str) -> None:
    image = random_images(1)
    assert torch.equal(corrupt(image, name, 3, keys=[1]), corrupt(image, name, 3, keys=[2]))


@pytest.mark.parametrize(("name", "severity"), EVERY_CELL)
def test_grey_and_small_images_work(name: str, severity: int) -> None:
    for images in (
        random_images(2, channels=1),
        random_images(2, height=32, width=32),
        random_images(1, 1, 32, 45),
    ):
        corrupted = corrupt(images, name, severity, keys=range(len(images)))
        assert corrupted.shape == images.shape
        if not (name == "saturate" and images.shape[1] == 1):  # grey has no saturation
            assert not torch.equal(corrupted, images)


@pytest.mark.parametrize("name", CORRUPTIONS)
def test_severity_0_is_the_clean_image(name: str) -> None:
    images = random_images(3)
    clean = corrupt(images, name, 0, keys=range(3))
    assert torch.equal(clean, images)
    assert clean.data_ptr() != images.data_ptr()


def test_degradation_rises_with_severity() -> None:
    keys = range(4)
    images = PHOTO.expand(4, -1, -1, -1)
    mean = [
        np.mean([(corrupt(images, n, s, keys=keys).float() - images.float()).abs().mean().item() for n in COMMON])
        for s in SEVERITIES
    ]
    assert all(milder < stronger for milder, stronger in pairwise(mean))


def test_an_empty_batch_stays_empty() -> None:
    assert corrupt(random_images(1)[:0], "fog", 3, keys=[]).shape == (0, 3, 40, 56)


GOOD = random_images(2)


@pytest.mark.parametrize(
    ("images", "name", "severity", "keys", "message"),
    [
        (GOOD, "gaussian_nois", 1, [0, 1], "Did you mean 'gaussian_noise'"),
        (GOOD, "fog", 6, [0, 1], "from 0"),
        (GOOD, "fog", -1, [0, 1], "from 0"),
        (GOOD, "fog", 1.5, [0, 1], "whole number"),
        (GOOD, "fog", True, [0, 1], "whole number"),
        (GOOD, "fog", 1, [0], "2 images but 1 keys"),
        (GOOD.float() / 255, "fog", 1, [0, 1], "Multiply images in"),
        (GOOD.long(), "fog", 1, [0, 1], "expected torch.uint8"),
        (GOOD[0], "fog", 1, [0], "images\\[None\\]"),
        (GOOD.permute(0, 2, 3, 1), "fog", 1, [0, 1], "permute"),
        (GOOD[:, :2], "fog", 1, [0, 1], "2 channels"),
        (GOOD[..., :31], "motion_blur", 0, [0, 1], "at least 32"),
        (GOOD.numpy(), "fog", 1, [0, 1], "torch tensor"),
    ],
)
def test_bad_input_is_refused(images: Tensor, name: str, severity: int, keys: list[int], message: str) -> None:
    with pytest.raises(UserError, match=message):
        corrupt(images, name, severity, keys=keys)


def test_sets() -> None:
    assert len(COMMON) == 15
    assert set(EXTRA) == {"speckle_noise", "gaussian_blur", "spatter", "saturate"}
    moving = {"elastic_transform", "motion_blur", "zoom_blur", "glass_blur"}
    assert set(GEOMETRY_PRESERVING) == set(COMMON) - moving
    assert len(QUICK) == 6
    assert {CORRUPTIONS[name].group for name in QUICK} == {"noise", "blur", "weather", "digital"}


def test_own_ice_textures(tmp_path: Path) -> None:
    from PIL import Image

    images = random_images(2)
    with pytest.raises(UserError, match="No PNG or JPEG"):
        corrupt(images, "frost", 1, keys=[0, 1], textures=tmp_path)
    with pytest.raises(UserError, match="No folder"):
        corrupt(images, "frost", 1, keys=[0, 1], textures=tmp_path / "missing")
    Image.fromarray(np.full((20, 30, 3), 100, np.uint8)).save(tmp_path / "flat.png")
    # Smaller than the image, so it is enlarged; flat, so the result is known.
    ours = corrupt(images, "frost", 1, keys=[0, 1], textures=tmp_path)
    assert torch.equal(ours, (images.int() + 40).clamp(max=255).to(torch.uint8))
    assert suite_version() != suite_version(tmp_path)
    assert label("frost") == "frost*"
    assert label("frost", own_textures=True) == "frost"


def test_glass_pointers_follow_the_walk() -> None:
    """Pointer jumping ends where the reference's loop over pixels ends."""
    height, width, shift = 32, 40, 4
    digests = image_digests(0, "", "glass_blur", 5, [0])
    sources = glass_sources(Draws(digests, CPU), height, width, shift)[0].view(height, width)
    drawn = Draws(digests, CPU).bits(2 * height * width)[0].int() * 2 * shift >> 16
    rows, columns = drawn.view(2, height, width)
    expected = torch.arange(height * width).view(height, width)
    for row in range(height - shift, shift, -1):
        for column in range(width - shift, shift, -1):
            expected[row, column] = expected[row + rows[row, column], column + columns[row, column]].clone()
    assert torch.equal(sources, expected)


def test_random_bits_look_random() -> None:
    draws = Draws(image_digests(0, "d", "c", 1, range(20)), CPU)
    bits = draws.bits(50_000)
    further = draws.bits(50_000)
    values = torch.cat([bits, further]).double() / 32768
    assert values.mean().abs() < 4 * (1 / 3 / values.numel()) ** 0.5
    assert (values.var() - 1 / 3).abs() < 0.002
    correlation = torch.corrcoef(values)
    assert (correlation - torch.eye(len(correlation))).abs().max() < 5 / 50_000**0.5
    neighbours = torch.stack([values[:, :-1].flatten(), values[:, 1:].flatten()])
    assert torch.corrcoef(neighbours)[0, 1].abs() < 5 / values.numel() ** 0.5
    high_bytes = torch.bincount((bits.flatten().int() + 32768) >> 8, minlength=256).double()
    chi_squared = ((high_bytes - high_bytes.mean()) ** 2 / high_bytes.mean()).sum()
    assert 255 - 5 * 22.6 < chi_squared < 255 + 5 * 22.6


def test_corruptions_are_drawn_on_a_sheet(tmp_path: Path) -> None:
    from PIL import Image

    draw_corruptions(PHOTO[0], tmp_path / "folder" / "sheet.png", names=("fog", "frost"))
    width, height = Image.open(tmp_path / "folder" / "sheet.png").size
    assert width > 5 * 160
    assert height > 2 * 128
    draw_corruptions(random_images(1, 1, 300, 320)[0], tmp_path / "grey.png", names=("contrast",))


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize(("name", "severity"), EVERY_CELL)
def test_gpu_agrees_with_cpu(name: str, severity: int) -> None:
    images = random_images(8, height=64, width=96)
    on_cpu = corrupt(images, name, severity, keys=range(8)).int()
    on_gpu = corrupt(images.cuda(), name, severity, keys=range(8))
    difference = (on_gpu.cpu().int() - on_cpu).abs().float()
    # Sums are rounded in another order: a value at the border between two levels may fall on the other side.
    assert difference.mean() < 0.02
    one = corrupt(images[3:4].cuda(), name, severity, keys=[3])
    assert torch.equal(one, on_gpu[3:4])
