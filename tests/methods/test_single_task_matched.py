"""Narrowed single-task networks."""

from __future__ import annotations

import pytest
import torch

from mtlbench.contract import UserError
from mtlbench.measure.cost import inference_flops
from mtlbench.methods.hard_sharing import HardSharing
from mtlbench.methods.single_task_matched import SingleTaskMatched
from mtlbench.networks.backbone import Backbone, BackboneSpec
from tests.tiny import build, dense_tasks


@pytest.mark.parametrize("count", [1, 2, 3])
def test_no_other_width_comes_nearer_to_hard_sharing(count: int) -> None:
    tasks = dense_tasks()[:count]
    matched, shared = build(SingleTaskMatched, tasks), build(HardSharing, tasks)
    device = torch.device("cpu")
    target, flops = (inference_flops(net, net, device)["all"] for net in (shared, matched))
    assert matched.extra()["FLOPs / hard sharing's"] == pytest.approx(flops / target)
    for width in {max(1, matched.width - 1), min(16, matched.width + 1)}:
        assert abs(matched.flops(width) - target) >= abs(flops - target)
    assert (matched.width == 16) == (count == 1)


def test_a_narrower_backbone_keeps_its_layout() -> None:
    full, narrow = Backbone(BackboneSpec("resnet_tiny")), Backbone(BackboneSpec("resnet_tiny"), width=5)
    assert narrow.channels == [5, 10, 20, 40] and narrow.stage_of == full.stage_of and narrow.strides == full.strides
    image = torch.rand(1, 3, 32, 32)
    assert [level.shape[2:] for level in narrow(image)] == [level.shape[2:] for level in full(image)]


def test_pretrained_weights_do_not_fit_another_width() -> None:
    with pytest.raises(UserError, match="width 5 has no pre-trained weights"):
        Backbone(BackboneSpec("resnet18", pretrained="imagenet"), width=5)
