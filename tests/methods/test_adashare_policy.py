"""AdaShare's policy: the official implementation's numbers (tests/golden/adashare_policy.npz), and what must hold anyway.

Numbers of tasks, blocks, temperatures and steps are those of the arrays.
"""

from __future__ import annotations

import math
from itertools import pairwise

import numpy as np
import pytest
import torch
from torch import Tensor

from mtlbench.methods.adashare.decisions import relaxed, sampled
from mtlbench.methods.adashare.phases import policy_optimizer
from mtlbench.methods.adashare.regularizers import Form, sharing_loss, sparsity_loss
from mtlbench.methods.adashare.schedule import ByProgress, ByRound, rounds_of_epoch
from tests.tiny_methods import GOLDEN

FILE = np.load(GOLDEN / "adashare_policy.npz")
TASKS, BLOCKS, _ = FILE["logits"].shape
GATED = FILE["reg/n_active"].tolist()

EXACT, SINGLE = 1e-9, 1e-6
"""Tolerances, absolute and relative: in double precision, and where the official code rounds to single."""


def golden(name: str) -> Tensor:
    return torch.from_numpy(FILE[name])


def logits() -> Tensor:
    return golden("logits").clone().requires_grad_()


def close(ours: Tensor, name: str, tolerance: float = EXACT, at: tuple[int, ...] = ()) -> None:
    torch.testing.assert_close(ours.detach().double(), golden(name)[at].double(), atol=tolerance, rtol=tolerance)


def gradient(value: Tensor, of: Tensor) -> Tensor:
    return torch.autograd.grad(value, of)[0]


# -- against the official implementation --------------------------------------------------------------------------------


@pytest.mark.parametrize("number", range(len(FILE["gumbel/tau"])))
@pytest.mark.parametrize("kind", ["soft", "hard"])
def test_relaxed_decisions_and_their_gradient(number: int, kind: str) -> None:
    own, temperature = logits(), float(golden("gumbel/tau")[number])
    policy = relaxed(own, golden("gumbel/noise"), temperature, kind == "hard")
    close(policy, f"gumbel/{kind}", at=(number,))
    vjp = "gumbel/soft_vjp" if kind == "soft" else "gumbel/hard_straight_through_vjp"
    close(gradient((policy * golden("gumbel/upstream")).sum(), own), vjp, at=(number,))


def test_final_decisions() -> None:
    keep = sampled(golden("logits"), golden("bernoulli/uniform"))
    assert torch.equal(torch.stack([keep, ~keep], -1).to(torch.int8), golden("bernoulli/policy"))


@pytest.mark.parametrize("number", range(len(GATED)))
def test_sparsity(number: int) -> None:
    for name, weighted, tolerance in (("reg/sparsity", False, EXACT), ("reg/sparsity_depth_weighted", True, SINGLE)):
        own = logits()
        value = sparsity_loss(own, GATED[number], "code", weighted)
        close(value, name, tolerance, at=(number,))
        close(gradient(value, own), f"{name}_grad", tolerance, at=(number,))


def test_sharing() -> None:
    for name, weighted in (("reg/sharing", True), ("reg/sharing_uniform_weights", False)):
        own = logits()
        value = sharing_loss(own, "code", weighted)
        close(value, name, SINGLE)
        close(gradient(value, own), f"{name}_grad", SINGLE)


@pytest.mark.parametrize("number", range(len(GATED)))
def test_published_weights(number: int) -> None:
    for row, (sparsity, sharing) in enumerate(FILE["reg/lambda_sparsity_sharing"].tolist()):
        own = logits()
        value = sparsity * sparsity_loss(own, GATED[number]) + sharing * sharing_loss(own)
        close(value, "reg/total", SINGLE, at=(row, number))
        close(gradient(value, own), "reg/total_grad", SINGLE, at=(row, number))


def test_the_start() -> None:
    own = golden("init/logits").clone().requires_grad_()
    for number, gated in enumerate(GATED):
        close(sparsity_loss(own, gated), "init/sparsity", at=(number,))
        close(gradient(sparsity_loss(own, gated), own), "init/sparsity_grad", at=(number,))
    close(sharing_loss(own), "init/sharing")
    close(gradient(sharing_loss(own), own), "init/sharing_grad")


def test_policy_updates() -> None:
    own = torch.nn.Parameter(golden("step/logits")[0].clone())
    optimizer = policy_optimizer([own], 0.01)  # the official rate
    sparsity, sharing = FILE["step/lambda_sparsity_sharing"].tolist()
    for number, (noise, upstream) in enumerate(zip(golden("step/noise"), golden("step/upstream"), strict=True)):
        gated, temperature = int(FILE["step/n_active"][number]), float(FILE["step/tau"][number])
        policy = relaxed(own, noise, temperature)
        task_losses = (policy * upstream)[:, -gated:].sum((1, 2))
        objective = (golden("step/lambda_task") * task_losses).sum()
        objective = objective + sparsity * sparsity_loss(own, gated) + sharing * sharing_loss(own)
        optimizer.zero_grad()
        objective.backward()
        optimizer.step()
        # The sharing weights are float32 upstream; Adam's first steps are the gradient's sign times the rate.
        close(own, "step/logits", SINGLE, at=(number + 1,))


def published(setting: str) -> ByRound:
    """A setting's schedule: 8 blocks in R18, 16 in R34; one more is gated every 3 rounds, on Taskonomy every round."""
    blocks, speed = 8 if setting.endswith("R18") else 16, 1 if setting.startswith("taskonomy") else 3
    return ByRound(blocks, 5.0, 0.965, speed)


def test_published_schedules() -> None:
    temperatures = FILE["schedule/tau"].tolist()
    rounds = range(len(temperatures))
    settings = [name.removeprefix("schedule/n_active_") for name in FILE.files if name.startswith("schedule/n_active_")]
    assert settings
    for setting in settings:
        schedule = [published(setting)(done, len(rounds)) for done in rounds]
        assert [temperature for temperature, _ in schedule] == pytest.approx(temperatures, rel=1e-9)
        assert [gated for _, gated in schedule] == FILE[f"schedule/n_active_{setting}"].tolist()


# -- what must hold -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("temperature", [0.1, 1.0, 5.0])
def test_the_likelier_decision_does_not_depend_on_the_temperature(temperature: float) -> None:
    own, draw = torch.tensor([[0.3, -0.4], [-1.0, 1.0]]), torch.Generator().manual_seed(0)
    noise = -torch.empty(20000, 2, 2).exponential_(generator=draw).log()
    frequency = (relaxed(own, noise, temperature)[..., 0] > 0.5).float().mean(0)
    torch.testing.assert_close(frequency, own.softmax(-1)[:, 0], atol=0.015, rtol=0)


def test_extreme_temperatures() -> None:
    own, noise = golden("logits"), golden("gumbel/noise")
    assert torch.equal(relaxed(own, noise, 1e-12), relaxed(own, noise, 1e-12, straight_through=True).detach())
    torch.testing.assert_close(relaxed(own, noise, 1e9), torch.full_like(own, 0.5))
    torch.testing.assert_close(relaxed(own, noise, 0.7).sum(-1), torch.ones(own.shape[:-1], dtype=own.dtype))


def test_sparsity_pushes_towards_skipping() -> None:
    undecided = torch.full((3, 5, 2), 0.5, dtype=torch.float64, requires_grad=True)
    value = sparsity_loss(undecided, 5)
    assert value.item() == pytest.approx(3 * math.log(2))
    assert bool((gradient(value, undecided)[..., 0] > 0).all())
    skipping = torch.tensor([-30.0, 30.0]).expand(3, 5, 2)
    assert float(sparsity_loss(skipping, 5)) == pytest.approx(0, abs=1e-12)


@pytest.mark.parametrize("form", ["code", "paper"])
def test_only_gated_blocks_pay(form: Form) -> None:
    own = logits()
    assert not bool(gradient(sparsity_loss(own, 3, form), own)[:, :-3].any())
    assert torch.equal(sparsity_loss(own, BLOCKS, form), sparsity_loss(own, BLOCKS + 4, form))


def test_the_papers_sparsity_is_unbounded_and_the_codes_is_not() -> None:
    nearly = torch.tensor([-40.0, 0.0], dtype=torch.float64).expand(1, 1, 2).clone().requires_grad_()
    assert sparsity_loss(nearly, 1, "paper").item() == pytest.approx(-40)
    assert float(gradient(sparsity_loss(nearly, 1, "paper"), nearly)[0, 0, 0]) == pytest.approx(1)
    assert float(gradient(sparsity_loss(nearly, 1, "code"), nearly).abs().max()) < 1e-12


@pytest.mark.parametrize("form", ["code", "paper"])
def test_sharing_is_about_differences(form: Form) -> None:
    own = golden("logits")
    assert float(sharing_loss(own, form)) > 0
    assert float(sharing_loss(own[:1].expand(TASKS, -1, -1), form)) == 0
    torch.testing.assert_close(sharing_loss(own, form), sharing_loss(own.roll(1, 0), form))
    assert float(sharing_loss(own[:1], form)) == 0


def test_forms_of_sharing() -> None:
    own = golden("logits")
    raised = own + torch.tensor([0.0, 3.0])
    torch.testing.assert_close(sharing_loss(raised), sharing_loss(own))
    one_block = torch.zeros(2, 4, 2)
    one_block[0, 0, 0] = 1.0
    other_block = one_block.flip(1)
    assert float(sharing_loss(one_block)) == pytest.approx(0.25)
    assert float(sharing_loss(other_block)) == pytest.approx(1.0)
    gap = float(torch.tensor(1.0).sigmoid()) - 0.5
    assert float(sharing_loss(one_block, "paper")) == pytest.approx(0.75 * gap)
    assert float(sharing_loss(other_block, "paper")) == 0


def test_sampling() -> None:
    draws, probability = 4000, golden("logits").softmax(-1)[..., 0]
    uniform = torch.rand((draws, TASKS, BLOCKS), generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    selected = float(sampled(golden("logits").expand(draws, -1, -1, -1), uniform).float().sum() / draws)
    error = float((probability * (1 - probability)).sum() / draws) ** 0.5
    assert selected == pytest.approx(float(probability.sum()), abs=4 * error)


@pytest.mark.parametrize("rounds", [4, 40, 400])
def test_schedules_are_fractions_of_the_phase(rounds: int) -> None:
    schedule = ByProgress(8, 5.0, 0.2, 0.5)
    temperatures, gated = zip(*(schedule(done, rounds) for done in range(rounds)), strict=True)
    assert (temperatures[0], gated[0]) == (5.0, 1)
    assert temperatures[-1] == pytest.approx(0.2)
    assert (gated[rounds // 4], gated[rounds // 2]) == (4, 8)
    assert list(gated) == sorted(gated)


def test_without_a_curriculum_all_blocks_are_gated_at_once() -> None:
    assert ByProgress(8, 5.0, 0.2, 0.0)(0, 10)[1] == 8


@pytest.mark.parametrize(("images", "size", "wanted"), [(600, 8, 2.5), (600, 8, 100), (40, 4, 1), (7, 8, 3), (2975, 16, 5)])
def test_rounds_use_every_image_once(images: int, size: int, wanted: float) -> None:
    rounds = rounds_of_epoch(images, size, 0.2, wanted)
    assert 1 <= len(rounds) <= math.ceil(wanted)
    for side, (first, last) in enumerate([(0, round(0.8 * images)), (round(0.8 * images), images)]):
        edges = [tuple(round(edge * images) for edge in parts[side]) for parts in rounds]
        assert edges[0][0] == first and edges[-1][1] == last
        assert all(earlier[1] == later[0] for earlier, later in pairwise(edges))
        assert all((stop - start) % size == 0 and stop > start for start, stop in edges[:-1])
