"""Cross-stitch against the survey's implementation, and its limits. All sizes are those of the arrays."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from mtlbench.methods.cross_stitch import CrossStitch, Stitch
from mtlbench.methods.hard_sharing import HardSharing
from mtlbench.methods.single_task import SingleTask
from tests.methods.golden_features import tensor
from tests.tiny import batch, build, dense_tasks
from tests.tiny_methods import GOLDEN, parameters_of

FILE = np.load(GOLDEN / "cross_stitch.npz")


def stitch_of(case: str) -> Stitch:
    """A golden layer."""
    weight = tensor(FILE, f"vdh_cross/{case}/weight_target_source_channel")
    stitch = Stitch(weight.shape[0], weight.shape[2], 0.9).double()
    stitch.weight.data = weight
    return stitch


def test_initial_weights_are_alpha_and_beta() -> None:
    """The survey's β is given apart from α; ours follows from it, so that rows sum to 1 for any number of tasks."""
    expected = tensor(FILE, "vdh_cross/init/weight_target_source_channel")
    tasks, _, channels = expected.shape
    alpha, beta = FILE["vdh/alpha_beta"].tolist()
    weight = Stitch(tasks, channels, alpha).weight.detach().double()
    own = torch.eye(tasks, dtype=torch.bool)
    torch.testing.assert_close(weight[own], expected[own], rtol=1e-6, atol=1e-6)
    if np.isclose(alpha + (tasks - 1) * beta, 1):
        torch.testing.assert_close(weight, expected, rtol=1e-6, atol=1e-6)
    torch.testing.assert_close(weight.sum(1), torch.ones(tasks, channels, dtype=torch.float64), rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("case", ["init", "random"])
def test_mixing_matches_the_official_layer(case: str) -> None:
    mixed = torch.stack(stitch_of(case)(list(tensor(FILE, "vdh_cross/features"))))
    torch.testing.assert_close(mixed, tensor(FILE, f"vdh_cross/{case}/out"), rtol=1e-6, atol=1e-6)


def test_gradients_match_the_official_layer() -> None:
    maps = tensor(FILE, "vdh_cross/features").requires_grad_()
    stitch = stitch_of("random")
    torch.stack([mixed.square().mean() for mixed in stitch(list(maps))]).sum().backward()
    for gradient, name in ((maps.grad, "grad_features"), (stitch.weight.grad, "grad_weight")):
        torch.testing.assert_close(gradient, tensor(FILE, f"vdh_cross/random/{name}"), rtol=1e-6, atol=1e-9)


def test_without_mixing_it_is_single_task_networks() -> None:
    stitched, single = build(CrossStitch, own_weight=1.0).eval(), build(SingleTask).eval()
    image = batch().image
    for task, prediction in single(image).items():
        torch.testing.assert_close(stitched(image)[task], prediction, rtol=1e-5, atol=1e-6)


def test_equal_networks_are_unchanged_by_rows_that_sum_to_one() -> None:
    stitched, shared = build(CrossStitch, own_weight=0.7).eval(), build(HardSharing).eval()
    image = batch().image
    for task, prediction in shared(image).items():
        torch.testing.assert_close(stitched(image)[task], prediction, rtol=1e-4, atol=1e-5)


def test_it_adds_one_weight_per_pair_of_tasks_and_channel_to_single_task() -> None:
    tasks = len(dense_tasks())
    stitched = build(CrossStitch)
    extra = parameters_of(stitched) - parameters_of(build(SingleTask))
    assert extra == tasks**2 * sum(stitched.stage_channels)
