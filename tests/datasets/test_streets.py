"""Streets: its targets follow from one geometry, and its images from a key alone."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from mtlbench.contract.dataset import BadSample
from mtlbench.datasets.streets import SHIFTS, Streets, rays
from mtlbench.datasets.streets.boundaries import occlusion_edges
from mtlbench.datasets.streets.solids import Array, Kind, Solid, SolidList, Solids, Triple, interval
from mtlbench.datasets.streets.style import Label

KEYS = [("train", 0), ("train", 3), ("val", 1), ("test", 2), ("test-city", 2), ("test-camera", 2)]


def streets(**options: Any) -> Streets:
    return Streets(None, Streets.configure(options, "streets"))


@pytest.fixture(scope="module")
def samples() -> list[dict[str, Array]]:
    return [streets().load(("train", number)) for number in range(24)]


def points(sample: dict[str, Array], intrinsics: Array) -> Array:
    """Camera coordinates [3, H, W] of what the pixels see, from inverse depth alone; NaN in the sky."""
    inverse = np.where(sample["depth"][0] > 0, sample["depth"][0], np.nan).astype(float)
    return pixel_rays(sample, intrinsics) / inverse


def pixel_rays(sample: dict[str, Array], intrinsics: Array) -> Array:
    height, width = sample["depth"].shape[1:]
    v, u = np.mgrid[:height, :width] + 0.5
    return np.einsum("ij,jhw->ihw", np.linalg.inv(intrinsics), np.stack([u, v, np.ones_like(u)]))


def mirrored(sample: dict[str, Array]) -> dict[str, Array]:
    """The sample as a flip augmentation leaves it."""
    out = {name: sample[name][..., ::-1].copy() for name in ("segmentation", "depth", "normals", "boundaries")}
    out["normals"][0] *= -1
    return out


def test_sample_is_the_same_whenever_and_by_whomever_it_is_made() -> None:
    first, second = streets(), streets(train=3)
    forwards = [first.load(("train", number)) for number in (0, 1, 2)]
    backwards = [second.load(("train", number)) for number in (2, 1, 0)][::-1]
    for one, other in zip(forwards, backwards, strict=True):
        assert all(np.array_equal(one[name], other[name]) for name in one)


def test_seed_split_and_number_give_other_scenes() -> None:
    one = streets().load(("train", 0))["depth"]
    others = [streets(seed=1).load(("train", 0)), streets().load(("val", 0)), streets().load(("train", 1))]
    assert all(not np.array_equal(one, other["depth"]) for other in others)


@pytest.mark.parametrize("size", [(64, 128), (48, 64)])
def test_shapes_and_types_are_those_of_the_tasks(size: tuple[int, int]) -> None:
    dataset = streets(height=size[0], width=size[1])
    for keys in dataset.index().values():
        sample = dataset.load(keys[0])
        assert sample["image"].shape == (*size, 3) and sample["image"].dtype == np.uint8
        assert set(sample) == {"image", *(task.name for task in dataset.tasks)}
        for task in dataset.tasks:
            assert sample[task.name].shape == task.target_shape(*size)
            assert sample[task.name].dtype == task.dtype


def test_index_has_the_asked_sizes_and_a_scene_for_every_image() -> None:
    dataset = streets(train=5, val=4, test=3, shifted=2)
    index = dataset.index()
    assert {split: len(keys) for split, keys in index.items()} == {
        "train": 5, "val": 4, "test": 3, **{f"test-{shift}": 2 for shift in SHIFTS},
    }  # fmt: skip
    scenes = [dataset.scene(key) for split in ("train", "val", "test") for key in index[split]]
    assert len(set(scenes)) == 12
    assert set(streets(shifted=0).index()) == {"train", "val", "test"}


@pytest.mark.parametrize("key", KEYS)
def test_sky_has_neither_depth_nor_normal_and_all_else_has_both(key: tuple[str, int]) -> None:
    sample = streets().load(key)
    sky = sample["segmentation"] == Label.SKY
    length = np.linalg.norm(sample["normals"], axis=0)
    assert np.array_equal(sky, sample["depth"][0] == 0)
    assert np.array_equal(sky, length == 0)
    assert np.allclose(length[~sky], 1, atol=1e-5)
    assert (sample["depth"][0][~sky] >= 1 / rays.FAR * 0.999).all() and (sample["depth"] < 1 / rays.NEAR).all()


@pytest.mark.parametrize("key", KEYS)
@pytest.mark.parametrize("flip", [False, True])
def test_normals_face_the_camera_and_agree_with_the_slope_of_depth(key: tuple[str, int], flip: bool) -> None:
    dataset = streets()
    intrinsics = dataset.intrinsics(key)
    sample = mirrored(dataset.load(key)) if flip else dataset.load(key)
    normal = sample["normals"].astype(float)
    seen = sample["depth"][0] > 0
    assert ((normal * pixel_rays(sample, intrinsics)).sum(0)[seen] < 1e-4).all()
    # Neighbours of one class, one normal and no boundary lie on one plane.
    place = points(sample, intrinsics)
    step = place[:, :, 1:] - place[:, :, :-1]
    equal = np.abs(normal[:, :, 1:] - normal[:, :, :-1]).max(0) < 1e-6
    label = sample["segmentation"]
    plane = equal & (label[:, 1:] == label[:, :-1]) & seen[:, 1:] & seen[:, :-1] & (label[:, 1:] == Label.ROAD)
    off = np.abs((step * normal[:, :, :-1]).sum(0)) / place[2, :, :-1]
    assert plane.sum() > 50
    assert off[plane].max() < 1e-3
    walls = equal & (label[:, 1:] == Label.BUILDING) & (label[:, :-1] == Label.BUILDING)
    walls &= (sample["boundaries"][0, :, 1:] == 0) & (sample["boundaries"][0, :, :-1] == 0)
    assert np.median(off[walls]) < 1e-4


@pytest.mark.parametrize("key", KEYS)
def test_road_is_level_and_lies_the_camera_height_below_the_camera(key: tuple[str, int]) -> None:
    dataset = streets()
    sample, camera = dataset.load(key), dataset.world(key)[1]
    up = camera.rotation @ np.array([0, -1, 0])
    road = sample["segmentation"] == Label.ROAD
    assert np.allclose(sample["normals"][:, road], up[:, None], atol=1e-5)
    below = -np.einsum("i,ihw->hw", up, points(sample, camera.intrinsics))[road]
    assert np.allclose(below, -camera.position[1], atol=2e-3)
    assert up[1] < -0.8  # y points down


def test_every_class_is_there_and_none_is_nearly_all(samples: list[dict[str, Array]]) -> None:
    share = np.bincount(np.concatenate([s["segmentation"].ravel() for s in samples]), minlength=8) / (24 * 64 * 128)
    assert len(share) == len(Label)
    assert share.min() > 0.008 and share.max() < 0.45


def test_nearer_of_two_pixels_of_different_classes_is_a_boundary(samples: list[dict[str, Array]]) -> None:
    for sample in samples[:8]:
        label, edge = sample["segmentation"], sample["boundaries"][0]
        depth = np.where(sample["depth"][0] > 0, 1 / np.maximum(sample["depth"][0], 1e-9), np.inf)
        for turn in (0, 1):  # along rows, then along columns
            label, edge, depth = (np.rot90(x, turn) for x in (label, edge, depth))
            differ = label[:, 1:] != label[:, :-1]
            nearer = np.where(depth[:, 1:] <= depth[:, :-1], edge[:, 1:], edge[:, :-1])
            assert (nearer[differ] == 1).all()
        assert set(np.unique(edge)) == {0, 1} and 0.02 < edge.mean() < 0.35


def test_plain_surfaces_have_no_boundary() -> None:
    dataset = streets()
    key = ("train", 0)
    sample = dataset.load(key)
    road = sample["segmentation"] == Label.ROAD
    inside = road[1:-1, 1:-1] & road[:-2, 1:-1] & road[2:, 1:-1] & road[1:-1, :-2] & road[1:-1, 2:]
    assert inside.any() and not sample["boundaries"][0, 1:-1, 1:-1][inside].any()


def test_boundaries_of_a_mirrored_view_are_the_mirrored_boundaries() -> None:
    street, camera, _ = streets().world(("train", 5))
    hits = rays.cast(street.solids, camera)
    size = camera.height, camera.width

    def turned(values: Array) -> Array:
        return np.ascontiguousarray(values.reshape(*values.shape[:-1], *size)[..., ::-1]).reshape(values.shape)

    other = rays.Hits(*(turned(getattr(hits, name)) for name in ("depth", "solid", "point", "own", "normal", "face")))
    edges = occlusion_edges(hits, hits.solid, size)
    assert np.array_equal(occlusion_edges(other, other.solid, size), edges[:, ::-1])


def test_one_object_is_parted_where_its_surfaces_do_not_join() -> None:
    size = (1, 4)
    depth = np.array([2, 2, 5, 5], np.float32)  # two fronto-parallel walls of one object, one behind the other
    point = np.stack([np.arange(4, dtype=np.float32), np.zeros(4, np.float32), depth])
    normal = np.tile(np.array([[0], [0], [-1]], np.float32), (1, 4))
    hits = rays.Hits(depth, np.zeros(4, int), point, point, normal, np.zeros(4, int))
    assert occlusion_edges(hits, np.zeros(4, int), size).tolist() == [[False, True, False, False]]


@pytest.mark.parametrize("shift", SHIFTS)
def test_shifted_image_shows_the_test_scene_with_one_thing_changed(shift: str) -> None:
    dataset = streets()
    plain, changed = dataset.load(("test", 4)), dataset.load((f"test-{shift}", 4))
    assert dataset.scene(("test", 4)) == dataset.scene((f"test-{shift}", 4))
    assert np.abs(plain["image"].astype(int) - changed["image"]).mean() > 8
    same = all(np.array_equal(plain[task.name], changed[task.name]) for task in dataset.tasks)
    assert same == (shift in ("night", "fog", "rain"))


def test_images_vary_in_brightness_and_are_not_saturated(samples: list[dict[str, Array]]) -> None:
    mean = [s["image"].mean() for s in samples]
    assert np.std(mean) > 8 and 60 < np.mean(mean) < 190
    assert np.mean([(s["image"] == 255).mean() for s in samples]) < 0.1


@pytest.mark.parametrize("key", ["train", ("nowhere", 0), ("train", 0, 1)])
def test_unknown_keys_are_refused(key: object) -> None:
    with pytest.raises(BadSample, match="expected"):
        streets().load(key)


# The ray caster


def solids_at_random(count: int, seed: int) -> Solids:
    rng = np.random.default_rng(seed)
    solids = SolidList()
    for number in range(count):
        centre, half, yaw = rng.uniform((-8, -4, -2), (8, 2, 30)), rng.uniform(0.1, 2, 3), rng.uniform(0, 6)
        solids.add(solid(Kind(number % 3), triple(centre), triple(half), yaw, instance=number))
    return solids.arrays()


def solid(kind: Kind, centre: Triple, half: Triple, yaw: float = 0.0, instance: int = 0) -> Solid:
    return Solid(kind, centre, half, yaw, label=0, instance=instance, material=0, colour=(0, 0, 0), style=(0, 0, 0))


def triple(values: Array) -> Triple:
    x, y, z = values.tolist()
    return x, y, z


def camera_at(position: tuple[float, float, float] = (0, -1, -3)) -> rays.Camera:
    return rays.Camera.look(np.array(position, float), 0.2, 0.1, 0.05, 1.2, (24, 40))


@pytest.mark.parametrize("kind", list(Kind))
def test_rays_enter_and_leave_on_the_surface(kind: Kind) -> None:
    rng = np.random.default_rng(0)
    half = (0.4, 1.5, 0.9)
    origin, direction = rng.uniform(-4, 4, (3, 500)), rng.standard_normal((3, 500))
    entry, leave = interval(kind, half, origin, direction)

    def size(t: Array) -> Array:
        """1 on the surface, less inside."""
        x, y, z = (origin + t * direction) / np.array(half)[:, None]
        if kind == Kind.BOX:
            return np.max(np.abs([x, y, z]), 0)
        return np.maximum(np.hypot(x, z), abs(y)) if kind == Kind.CYLINDER else np.sqrt(x * x + y * y + z * z)

    hit = entry < leave
    assert 20 < hit.sum() < 480
    assert np.allclose(size(entry)[hit], 1) and np.allclose(size(leave)[hit], 1)
    assert (size((entry + leave) / 2)[hit] < 1).all()
    steps = np.linspace(-6, 6, 400)
    assert all((size(np.full(500, t))[~hit] > 1 - 1e-9).all() for t in steps)


@pytest.mark.parametrize("seed", range(4))
def test_windows_hide_nothing(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    solids, camera = solids_at_random(30, seed), camera_at()
    quick = rays.cast(solids, camera)
    monkeypatch.setattr(rays, "windows", lambda s, c: np.tile(np.array([0, c.height, 0, c.width], np.int32), (len(s), 1)))
    slow = rays.cast(solids, camera)
    assert np.array_equal(quick.solid, slow.solid) and np.array_equal(quick.depth, slow.depth)
    assert len(set(quick.solid.tolist())) > 6


def test_hits_lie_on_their_solids_and_normals_point_outwards() -> None:
    solids, camera = solids_at_random(30, 7), camera_at()
    hits = rays.cast(solids, camera)
    seen = hits.solid >= 0
    outwards = (hits.normal * (hits.point - solids.centre.T[:, hits.solid])).sum(0)
    towards = (hits.normal * camera.rays.reshape(3, -1)).sum(0)
    assert (outwards[seen] > 0).all() and (towards[seen] < 1e-5).all()
    seen_from = (camera.rotation @ (hits.point - camera.position[:, None]))[2]
    assert np.allclose(seen_from[seen], hits.depth[seen], rtol=1e-4)


def test_box_shades_the_ground_below_it_and_nothing_else() -> None:
    solids = SolidList()
    solids.add(solid(Kind.BOX, (0, 0.5, 0), (50, 0.5, 50)))
    solids.add(solid(Kind.BOX, (0, -3, 8), (1, 0.2, 1), instance=1))
    frozen = solids.arrays()
    hits = rays.cast(frozen, camera_at((0, -1.5, 0)))
    dark = rays.shadow(frozen, hits, np.array([0.0, -1.0, 0.0]))
    below = (np.abs(hits.point[0]) < 1) & (np.abs(hits.point[2] - 8) < 1) & (hits.solid == 0)
    assert below.any() and np.array_equal(dark, below)
