"""PGD: inside the ball, harmful, random where it starts, and without a trace in the network."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import Tensor

from mtlbench.contract.batch import Batch
from mtlbench.measure.adversarial import summed_loss
from mtlbench.measure.robustness_suite import ALL, pgd_steps
from tests.measure.small_network import TASKS, Example, example

NAMES = [*(task.name for task in TASKS), ALL]


def losses(examined: Example, image: Tensor, batch: Batch, on: str) -> float:
    tasks = [task for task in TASKS if on in (task.name, ALL)]
    with torch.no_grad():
        loss = summed_loss(tasks, examined.network(image), batch)
    assert loss is not None
    return float(loss)


def batch_of(examined: Example, count: int = 8) -> Batch:
    return examined.split.batch(torch.arange(count))


@pytest.mark.parametrize(("radius", "steps"), [(0.25, 1), (1, 2), (2, 3), (4, 5), (8, 10), (16, 20)])
def test_number_of_steps_is_the_published_one(radius: float, steps: int) -> None:
    assert pgd_steps(radius) == steps


@pytest.mark.parametrize("radius", [0.25, 2, 40])
@pytest.mark.parametrize("steps", [0, 1, 3])
@pytest.mark.parametrize("on", [*NAMES[:2], ALL])
def test_images_stay_in_the_ball_and_in_range(on: str, steps: int, radius: float) -> None:
    examined = example()
    batch = batch_of(examined)
    image = examined.attacked(on, radius, steps)(batch)
    assert image.shape == batch.image.shape and image.dtype == torch.float32
    assert (image - batch.image).abs().max() <= radius / 255 + 1e-6
    assert image.min() >= 0 and image.max() <= 1


def test_the_start_is_uniform_in_the_ball_and_not_one_of_its_corners() -> None:
    examined = example()
    batch = batch_of(examined)
    start = (examined.attacked(ALL, 4, 0)(batch) - batch.image) * 255 / 4
    inside = start[(batch.image > 5 / 255) & (batch.image < 250 / 255)]
    assert inside.mean().abs() < 0.02
    assert (inside.square().mean() - 1 / 3).abs() < 0.02
    assert (inside.abs() > 0.99).float().mean() < 0.03


def test_the_start_depends_on_image_task_and_seed() -> None:
    examined = example()
    batch = batch_of(examined)
    first = examined.attacked(ALL, 4, 0)(batch) - batch.image
    assert not torch.equal(first[0], first[1])
    assert torch.equal(first, examined.attacked(ALL, 4, 0)(batch) - batch.image)
    assert not torch.equal(first, examined.attacked("depth", 4, 0)(batch) - batch.image)
    assert not torch.equal(first, examined.attacked(ALL, 4, 0, seed=1)(batch) - batch.image)


@pytest.mark.parametrize("on", NAMES)
def test_the_attacked_loss_rises(on: str) -> None:
    examined = example()
    batch = batch_of(examined)
    clean = losses(examined, batch.image, batch, on)
    by_steps = [losses(examined, examined.attacked(on, 4, steps)(batch), batch, on) for steps in (0, 1, 3, 5)]
    assert by_steps == sorted(by_steps)
    assert by_steps[-1] > clean
    noise = by_steps[0]
    assert by_steps[-1] - clean > 2 * abs(noise - clean)


@pytest.mark.parametrize("on", ["segmentation", ALL])
def test_an_attacked_image_does_not_depend_on_its_batch(on: str) -> None:
    examined = example()
    attack = examined.attacked(on, 4, 2)
    together = attack(batch_of(examined, 12))
    parts = [attack(examined.split.batch(torch.arange(12)[part])) for part in (slice(0, 5), slice(5, 12))]
    differs = (together - torch.cat(parts)).abs() > 1e-6
    assert differs.float().mean() < 1e-3  # a gradient of 0, rounded the other way, changes its sign


def test_the_network_is_left_as_it_was() -> None:
    examined = example()
    examined.network.train()
    before = copy.deepcopy(examined.network.state_dict())
    examined.evaluate(examined.attacked(ALL, 2, 2))
    after = examined.network.state_dict()
    assert all(torch.equal(before[name], after[name]) for name in before)
    assert all(parameter.grad is None and parameter.requires_grad for parameter in examined.network.parameters())
    assert examined.network.training


def test_an_attack_on_one_task_is_measured_on_all() -> None:
    examined = example()
    clean, attacked = examined.evaluate(), examined.evaluate(examined.attacked("depth", 16, 10))
    assert set(attacked.metrics) == set(clean.metrics)
    assert attacked.metrics["depth"]["abs_err"] > clean.metrics["depth"]["abs_err"]


def test_images_without_the_attacked_task_are_left_at_their_start() -> None:
    """Multi-input data: the other tasks' images have no gradient."""
    examined = example()
    batch = batch_of(examined, 4)
    rows = {task.name: torch.tensor([0, 1]) if task.name == "depth" else torch.tensor([2, 3]) for task in TASKS}
    apart = Batch(batch.image, batch.targets, batch.labelled, batch.index, rows)
    start, attacked = (examined.attacked("depth", 4, steps)(apart) for steps in (0, 2))
    assert not torch.equal(start[:2], attacked[:2])
    assert torch.equal(start[2:], attacked[2:])
    nobody = Batch(
        batch.image, batch.targets, batch.labelled, batch.index, {**rows, "depth": torch.tensor([], dtype=torch.long)}
    )
    assert torch.equal(examined.attacked("depth", 4, 2)(nobody), start)
