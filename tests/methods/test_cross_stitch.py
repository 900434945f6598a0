"""Cross-stitch against the survey's implementation, and its limits."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from mtlbench.methods.cross_stitch import CrossStitch, Stitch
from mtlbench.methods.hard_sharing import HardSharing
from mtlbench.methods.single_task import SingleTask
from tests.tiny import batch, build, dense_tasks

GOLDEN = np.load(Path(__file__).parents[1] / "golden" / "cross_stitch.npz")


def _stitch(weight: torch.Tensor) -> Stitch:
    stitch = Stitch(weight.shape[0], weight.shape[2], 0.9).double()
    stitch.weight.data = weight
    return stitch


def test_initial_weights_are_alpha_and_beta() -> None:
    expected = torch.from_numpy(GOLDEN["vdh_cross/init/weight_target_source_channel"]).double()
    tasks, _, channels = expected.shape
    alpha, beta = GOLDEN["vdh/alpha_beta"]
    stitch = Stitch(tasks, channels, float(alpha))
    # The survey's β is given apart from α; ours lets rows sum to 1, which is the same for two tasks.
    if np.isclose(alpha + (tasks - 1) * beta, 1):
        torch.testing.assert_close(stitch.weight.detach().double(), expected, rtol=1e-6, atol=1e-6)
    torch.testing.assert_close(stitch.weight.detach().sum(1), torch.ones(tasks, channels))


@pytest.mark.parametrize("case", ["init", "random"])
def test_mixing_matches_the_official_layer(case: str) -> None:
    maps = torch.from_numpy(GOLDEN["vdh_cross/features"]).double()
    weight = torch.from_numpy(GOLDEN[f"vdh_cross/{case}/weight_target_source_channel"]).double()
    mixed = torch.stack(_stitch(weight)(list(maps)))
    torch.testing.assert_close(mixed, torch.from_numpy(GOLDEN[f"vdh_cross/{case}/out"]).double(), rtol=1e-6, atol=1e-6)


def test_gradients_match_the_official_layer() -> None:
    maps = torch.from_numpy(GOLDEN["vdh_cross/features"]).double().requires_grad_()
    stitch = _stitch(torch.from_numpy(GOLDEN["vdh_cross/random/weight_target_source_channel"]).double())
    sum(one.square().mean() for one in stitch(list(maps))).backward()  # type: ignore[union-attr]
    for found, name in ((maps.grad, "grad_features"), (stitch.weight.grad, "grad_weight")):
        expected = torch.from_numpy(GOLDEN[f"vdh_cross/random/{name}"]).double()
        torch.testing.assert_close(found, expected, rtol=1e-6, atol=1e-9)


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


def test_it_adds_one_weight_a_pair_of_tasks_and_channel_to_single_task() -> None:
    tasks = len(dense_tasks())
    stitched, single = build(CrossStitch), build(SingleTask)
    extra = sum(one.numel() for one in stitched.parameters()) - sum(one.numel() for one in single.parameters())
    assert extra == tasks**2 * sum(stitched.stage_channels)
