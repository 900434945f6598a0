"""The LeNet of MultiMNIST as a backbone: what it computes, what it drops, and what is refused on it."""

from __future__ import annotations

import dataclasses

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from mtlbench.config.plugins import Registry
from mtlbench.contract import Architecture, NetworkConfig, OptimizerSpec
from mtlbench.errors import UserError
from mtlbench.networks.backbone import Backbone, BackboneSpec
from mtlbench.networks.lenet import SecondConvolution
from tests import tiny

IMAGES = torch.rand(3, 3, 28, 28, generator=torch.Generator().manual_seed(0))


def config(backbone: str = "multi_lenet", size: tuple[int, int] = (28, 28), dense: bool = False) -> NetworkConfig:
    tasks = tiny.dense_tasks() if dense else tiny.image_tasks()
    base = tiny.network_config(tasks)
    return dataclasses.replace(base, image_size=size, backbone=BackboneSpec(backbone, init="torch"))


def network(name: str, backbone: str = "multi_lenet") -> Architecture:
    cls = Registry().architecture(name).cls
    return cls(config(backbone), cls.configure({}, name))


def by_hand(backbone: Backbone, image: Tensor) -> Tensor:
    """The published forward pass without dropout, with a fully connected layer of 320 inputs."""
    first, second, last = (module.conv for module in (backbone.stem, *backbone.blocks))
    x = F.relu(F.max_pool2d(F.conv2d(image[:, :1], first.weight, first.bias), 2))
    x = F.relu(F.max_pool2d(F.conv2d(x, second.weight, second.bias), 2))
    return F.relu(F.linear(x.reshape(-1, 320), last.weight.reshape(50, 320), last.bias))


@pytest.mark.parametrize("name", ["multi_lenet", "multi_lenet_no_dropout"])
def test_features_are_those_of_the_published_layers(name: str) -> None:
    backbone = Backbone(BackboneSpec(name, init="torch")).eval()
    grey = IMAGES[:, :1].expand(-1, 3, -1, -1)
    maps = backbone(grey)
    assert [tuple(level.shape) for level in maps] == [(3, 20, 4, 4), (3, 50, 1, 1)]
    assert torch.allclose(maps[-1][:, :, 0, 0], by_hand(backbone, grey), atol=1e-6)


def test_sizes_are_the_published_ones() -> None:
    parameters = sum(weight.numel() for weight in Backbone(BackboneSpec("multi_lenet")).parameters())
    assert parameters == (25 * 10 + 10) + (250 * 20 + 20) + (320 * 50 + 50)
    head = network("hard_sharing").heads["left"]
    assert [tuple(weight.shape) for weight in head.parameters()] == [(50, 50), (50,), (4, 50), (4,)]


def test_channels_are_dropped_for_the_whole_batch_and_not_rescaled() -> None:
    torch.manual_seed(0)
    block = SecondConvolution(dropout=True).train()
    with torch.no_grad():
        torch.nn.init.constant_(block.conv.get_parameter("bias"), 5.0)  # so that no channel is zero by itself
    x = torch.rand(6, 10, 12, 12)
    dropped = block(x)
    kept = dropped.amax((2, 3)) > 0
    assert (kept == kept[:1]).all() and 0 < kept[0].sum() < 20
    whole = block.eval()(x)
    assert torch.equal(dropped[:, kept[0]], whole[:, kept[0]])


def test_tasks_on_one_trunk_have_one_mask() -> None:
    shared, private = network("hard_sharing").train(), network("single_task").train()
    torch.manual_seed(1)
    features = shared.maps(IMAGES, ("left", "right"), None)
    assert torch.equal(features["left"][0], features["right"][0])
    torch.manual_seed(1)
    features = private.maps(IMAGES, ("left", "right"), None)
    assert not torch.equal(features["left"][0], features["right"][0]), "equal weights, masks of their own"


def test_without_dropout_training_and_evaluation_agree() -> None:
    plain = network("hard_sharing", "multi_lenet_no_dropout")
    assert torch.equal(plain.train()(IMAGES)["left"], plain.eval()(IMAGES)["left"])
    dropping = network("hard_sharing")
    assert not torch.equal(dropping.train()(IMAGES)["left"], dropping.eval()(IMAGES)["left"])


@pytest.mark.parametrize("name", ["hard_sharing", "single_task", "cross_stitch", "nddr", "random_tree", "mmoe", "cgc"])
def test_architectures_that_make_sense_run(name: str) -> None:
    trained = network(name).train()
    sum(prediction.square().mean() for prediction in trained(IMAGES).values()).backward()  # type: ignore[union-attr]
    owners = trained.owners()
    assert all(weight.grad is not None for key, weight in trained.named_parameters() if owners[key])
    assert len(trained.plan().depths) == 3


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("adashare", "AdaShare needs residual blocks, which multi_lenet does not have"),
        ("random_plan", "needs residual blocks"),
        ("mtan", "MTAN needs feature maps"),
        ("ple", "PLE needs feature maps"),
        ("single_task_matched", "one width"),
    ],
)
def test_others_are_refused_with_a_reason(name: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        network(name)


def test_dense_tasks_and_other_sizes_are_refused() -> None:
    cls = Registry().architecture("hard_sharing").cls
    with pytest.raises(UserError, match="cannot predict segmentation"):
        cls(config(dense=True), cls.configure({}, "hard_sharing"))
    with pytest.raises(UserError, match="28 × 28 pixels, these have 36 × 36"):
        cls(config(size=(36, 36)), cls.configure({}, "hard_sharing"))
    with pytest.raises(UserError, match="no pre-trained weights"):
        Backbone(BackboneSpec("multi_lenet", pretrained="imagenet"))


def test_published_schedules() -> None:
    kurin, sener = (OptimizerSpec(schedule=name) for name in ("epoch_0.95", "10_epochs_0.85"))  # type: ignore[arg-type]
    assert [kurin.factor(epoch / 100) for epoch in (0, 1, 50, 99)] == pytest.approx([1, 0.95, 0.95**50, 0.95**99])
    assert [sener.factor(epoch / 100) for epoch in (8, 9, 18, 19, 99)] == pytest.approx([1, 0.85, 0.85, 0.85**2, 0.85**10])
