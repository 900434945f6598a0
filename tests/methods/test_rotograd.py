"""RotoGrad: gradients of the official code, and what happens where gradients do not arrive together."""

from __future__ import annotations

import contextlib
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor

from mtlbench.measure.cost import parameters
from mtlbench.methods.rotograd import RotoGrad
from mtlbench.methods.rotograd.homogenise import homogenised
from mtlbench.methods.rotograd.rotations import Rotation, rotate
from tests import tiny
from tests.methods.golden_features import tensor
from tests.tiny_methods import (
    GOLDEN,
    TASKS,
    architecture_class,
    batches,
    build,
    graph_of,
    make,
    make_run,
    network,
    network_config,
    reloaded,
    snapshot,
)

NAMES = [task.name for task in TASKS]


def turned(net: RotoGrad, seed: int = 0, size: float = 0.2) -> RotoGrad:
    """The network with random rotations in place of the identity."""
    generator = torch.Generator().manual_seed(seed)
    for rotation in net.rotations.values():
        rotation.below.data.copy_(size * torch.randn(rotation.below.shape, generator=generator))
    return net


def matrices_of(net: RotoGrad) -> dict[str, Tensor]:
    return {task: rotation().detach() for task, rotation in net.rotations.items()}


@pytest.mark.parametrize("case", ["two", "three", "part", "rotate_only"])
def test_gradients_are_those_of_the_official_code(case: str) -> None:
    with np.load(GOLDEN / "rotograd.npz") as file:
        arrays = {name.removeprefix(f"{case}/"): tensor(file, name) for name in file.files if name.startswith(f"{case}/")}
    count, size = arrays["skew"].shape[:2]
    net = build(RotoGrad, network_config(TASKS[:count]), magnitudes=case != "rotate_only").double()
    rotations = [Rotation(size).double() for _ in range(count)]
    below = torch.tril_indices(size, size, -1)
    for rotation, skew in zip(rotations, arrays["skew"], strict=True):
        rotation.below.data.copy_(skew[below[0], below[1]])
    for step, start in enumerate(arrays["z"]):
        z = start.clone().requires_grad_()
        matrices = [rotation() for rotation in rotations]
        torch.testing.assert_close(torch.stack(matrices), arrays["rotations"], rtol=1e-9, atol=1e-9)
        maps = homogenised(z, matrices, [None] * count, net.factors(NAMES[:count]))
        losses = [
            scale * (torch.einsum("c,nc...->n...", head, r) - target).square().mean()
            for scale, head, r, target in zip(
                arrays["scale"], arrays["head_weights"], maps, arrays["targets"][step], strict=True
            )
        ]
        torch.testing.assert_close(torch.stack(losses).detach(), arrays["loss"][step], rtol=1e-9, atol=1e-9)
        for_z, *for_below = torch.autograd.grad(sum(losses), [z, *(rotation.below for rotation in rotations)])
        torch.testing.assert_close(for_z, arrays["for_z"][step], rtol=1e-9, atol=1e-9)
        for number, gradient in enumerate(for_below):
            # The factor of the docstring: 2 / images, the mean gradient's length, and the task's own.
            factor = 2 / len(z) * arrays["mean_length"][step] * arrays["head_gradients"][step, number].norm()
            expected = arrays["for_skew"][step, number][below[0], below[1]]
            torch.testing.assert_close(factor * gradient, expected, rtol=1e-9, atol=1e-9 * float(expected.abs().max()))


def test_descending_aligns_the_gradients() -> None:
    generator = torch.Generator().manual_seed(0)
    z = torch.randn(4, 6, 3, generator=generator, dtype=torch.float64, requires_grad=True)
    gradients = torch.randn(3, 4, 6, 3, generator=generator, dtype=torch.float64)
    net, rotations = build(RotoGrad), [Rotation(6).double() for _ in range(3)]
    optimizer = torch.optim.SGD([rotation.below for rotation in rotations], lr=0.5)

    def cosines() -> float:
        back = [rotate(rotation().detach().T, row) for rotation, row in zip(rotations, gradients, strict=True)]
        units = torch.stack([torch.nn.functional.normalize(row.flatten(), dim=0) for row in back])
        return float((units @ units.T).mean())

    before = cosines()
    for _ in range(20):
        maps = homogenised(z, [rotation() for rotation in rotations], [None] * 3, net.factors(NAMES))
        optimizer.zero_grad()
        torch.autograd.backward(maps, list(gradients))
        optimizer.step()
    assert cosines() > before + 0.1
    for rotation in rotations:
        torch.testing.assert_close(rotation() @ rotation().T, torch.eye(6, dtype=torch.float64))


@pytest.mark.parametrize("strategy", ["pcgrad", "alternating"])
def test_gradients_that_arrive_alone_are_those_of_hard_sharing(strategy: str) -> None:
    ours, plain = network("rotograd"), network("hard_sharing")
    for net in (ours, plain):
        started = make(strategy, net, make_run())
        for batch in batches(2):
            started.step(batch)
    weights = dict(ours.named_parameters())
    for name, weight in plain.named_parameters():
        torch.testing.assert_close(weights[name], weight, rtol=1e-4, atol=1e-6)
    assert isinstance(ours, RotoGrad)
    assert ours.extra() == {"rotation": 0.0} and not ours.first_norms.any()


def test_a_lone_gradient_passes_as_the_chain_rule_says() -> None:
    net = turned(build(RotoGrad)).double()
    image, last = batches(1)[0].image.double(), list(graph_of(net).parameters())[-1]
    for task in NAMES:
        inputs = [last, net.rotations[task].below]
        trunk, rotation = torch.autograd.grad(net(image)[task].sum(), inputs)
        net.training = False  # of this module alone: BatchNorm goes on training
        plain_trunk, plain_rotation = torch.autograd.grad(net(image)[task].sum(), inputs)
        net.training = True
        torch.testing.assert_close(trunk, plain_trunk)
        # Evaluation differentiates what is computed (attacks need that); in training no rotation descends on a loss.
        assert not rotation.any() and plain_rotation.any()


def test_images_of_one_task_align_nothing() -> None:
    net = turned(build(RotoGrad))
    batch = batches(1, size=6)[0]
    own = {task: torch.tensor([2 * number, 2 * number + 1]) for number, task in enumerate(NAMES)}
    sum(net.losses(replace(batch, rows=own)).values()).backward()  # type: ignore[union-attr]
    assert all(rotation.below.grad is not None and not rotation.below.grad.any() for rotation in net.rotations.values())
    assert bool((net.first_norms > 0).all())
    net.zero_grad()
    overlapping = {**own, NAMES[1]: torch.tensor([1, 3])}
    sum(net.losses(replace(batch, rows=overlapping)).values()).backward()  # type: ignore[union-attr]
    moved = [bool(rotation.below.grad.any()) for rotation in net.rotations.values() if rotation.below.grad is not None]
    assert moved == [True, True, False]


def test_first_norms_are_kept_and_saved() -> None:
    net = build(RotoGrad)
    started = make("equal", net, make_run())
    first, second, third = batches(3, without={0: [NAMES[2]], 1: NAMES[:2]})
    started.step(first)
    known = net.first_norms.clone()
    assert (known > 0).tolist() == [True, True, False]
    started.step(second)  # one task alone
    assert torch.equal(net.first_norms, known)
    started.step(third)
    assert torch.equal(net.first_norms[:2], known[:2]) and net.first_norms[2] > 0
    other = build(RotoGrad)
    other.load_state_dict(reloaded(net.state_dict()))
    assert torch.equal(other.first_norms, net.first_norms)


@pytest.mark.parametrize("micro_batches", [1, 2])
@pytest.mark.parametrize("half", [False, True])
def test_training_moves_rotations(micro_batches: int, half: bool) -> None:
    net, run = build(RotoGrad), make_run()
    run.micro_batches = micro_batches
    run.autocast = (lambda: torch.autocast("cpu", torch.bfloat16)) if half else contextlib.nullcontext
    before, started = snapshot(net), make("equal", net, run)
    for batch in batches(2):
        started.step(batch)
    assert net.extra()["rotation"] > 0
    assert all(not torch.equal(weight, before[name]) for name, weight in net.named_parameters() if "rotations" in name)
    for matrix in matrices_of(net).values():
        torch.testing.assert_close(matrix @ matrix.T, torch.eye(len(matrix)), rtol=0, atol=1e-5)


def test_the_deployed_network_has_fixed_rotations() -> None:
    net = turned(build(RotoGrad, tiny.network_config(), channels=5)).eval()
    image = tiny.batch().image
    deployed = net.deploy().eval()
    expected = net(image)
    for task, prediction in deployed(image).items():
        assert torch.equal(prediction, expected[task])
        assert not torch.allclose(prediction, build(RotoGrad, tiny.network_config()).eval()(image)[task])
    rotations = 5 * 4 // 2 * len(net.tasks)
    plain = build(architecture_class("hard_sharing"), tiny.network_config())
    assert parameters(net, deployed)["total"] == parameters(plain, plain)["total"] + rotations
    assert not any(isinstance(module, Rotation) for module in deployed.modules())
