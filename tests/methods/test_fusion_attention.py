"""NDDR, MTAN and PAD-Net's distillation against the survey's implementations, their limits, and the published sizes."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from mtlbench.contract import Architecture, NetworkConfig
from mtlbench.methods._distillation import Distillation
from mtlbench.methods.hard_sharing import HardSharing
from mtlbench.methods.mtan import MTAN, Attention
from mtlbench.methods.mti_net import MTINet, Propagation
from mtlbench.methods.nddr import NDDR, Fusion
from mtlbench.methods.pad_net import PADNet
from mtlbench.methods.single_task import SingleTask
from mtlbench.networks.backbone import BackboneSpec
from mtlbench.networks.heads import HeadSpec
from mtlbench.tasks import Depth, Segmentation
from tests.tiny import batch, build, dense_tasks

GOLDEN = np.load(Path(__file__).parents[1] / "golden" / "fusion_attention.npz")
EXACT = {"rtol": 1e-9, "atol": 1e-9}


def golden(name: str) -> Tensor:
    return torch.from_numpy(GOLDEN[name]).double()


def state(prefix: str) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): golden(name) for name in GOLDEN.files if name.startswith(prefix)}


def load(module: nn.Module, values: Mapping[str, Tensor]) -> nn.Module:
    """All but the counters of batches, which the golden file has none of."""
    missing, unexpected = module.double().load_state_dict(dict(values), strict=False)
    assert not unexpected and all(name.endswith("num_batches_tracked") for name in missing)
    return module


# -- NDDR ---------------------------------------------------------------------------------------------------------------


def test_fusion_starts_as_the_official_layer() -> None:
    tasks, channels, _ = GOLDEN["nddr/init/conv_weight"].shape
    fusion = Fusion(tasks, channels, float(GOLDEN["vdh/alpha_beta"][0])).double().eval()
    weight = torch.stack([layer[0].weight[:, :, 0, 0] for layer in fusion.layers])  # type: ignore[index]
    torch.testing.assert_close(weight, golden("nddr/init/conv_weight"), rtol=1e-6, atol=1e-7)
    found = torch.stack(fusion(list(golden("vdh_cross/features"))))
    torch.testing.assert_close(found, golden("nddr/init/eval_out"), rtol=1e-6, atol=1e-6)


def test_fusion_computes_what_the_official_layer_does() -> None:
    tasks, channels = GOLDEN["nddr/random/running_mean_after"].shape
    names = ("semseg", "depth")
    values = {
        f"layers.{names.index(task)}.{rest}": value
        for name, value in state("nddr/random/state/layer.").items()
        for task, _, rest in [name.partition(".")]
    }
    fusion = load(Fusion(tasks, channels, 0.9), values)
    features = golden("vdh_cross/features").requires_grad_()
    torch.testing.assert_close(torch.stack(fusion.eval()(list(features))), golden("nddr/random/eval_out"), **EXACT)
    found = fusion.train()(list(features))
    torch.testing.assert_close(torch.stack(found), golden("nddr/random/train_out"), **EXACT)
    sum(one.square().mean() for one in found).backward()
    assert features.grad is not None
    torch.testing.assert_close(features.grad, golden("nddr/random/train_grad_features"), **EXACT)
    for name in ("running_mean", "running_var"):
        after = torch.stack([getattr(layer[1], name) for layer in fusion.layers])  # type: ignore[index]
        torch.testing.assert_close(after, golden(f"nddr/random/{name}_after"), **EXACT)


def test_fusion_of_own_features_alone_leaves_single_task_networks() -> None:
    fused, single = build(NDDR, own_weight=1.0).eval(), build(SingleTask).eval()
    image = batch().image
    for task, prediction in single(image).items():
        # BatchNorm's ε shrinks every map a little.
        torch.testing.assert_close(fused(image)[task], prediction, rtol=1e-3, atol=1e-4)


def test_fusion_adds_a_convolution_and_two_vectors_a_task() -> None:
    tasks = len(dense_tasks())
    fused, single = build(NDDR), build(SingleTask)
    widths = [fused.stage_channels[0], *fused.stage_channels]
    assert count(fused) - count(single) == sum(tasks**2 * width**2 + 2 * tasks * width for width in widths)


# -- MTAN ---------------------------------------------------------------------------------------------------------------


def attention() -> Attention:
    names = {0: "semseg", 1: "depth"}
    values = {}
    for name, value in state("mtan/state/").items():
        part, _, rest = name.partition(".")
        if part.startswith("attention_"):
            task, _, inner = rest.partition(".")
            values[f"masks.{task}.{int(part[-1]) - 1}.{inner}"] = value
        elif part.startswith("refine_"):
            values[f"refine.{int(part[-1]) - 1}.{rest.removeprefix('0.')}"] = value
    made = Attention(names.values(), [int(one) for one in GOLDEN["mtan/channels"]], narrowest=1)
    assert isinstance(load(made, values), Attention)
    return made


def test_attention_computes_what_the_official_network_does() -> None:
    stages = range(1, len(GOLDEN["mtan/channels"]) + 1)
    before, after = (
        [golden(f"mtan/stage{stage}/u_{which}_last_block") for stage in stages] for which in ("before", "after")
    )
    found = attention().eval()(before, after, ("semseg", "depth"))
    for number, task in enumerate(("semseg", "depth")):
        torch.testing.assert_close(found[task][-1], golden("mtan/a4")[number], **EXACT)
        for stage, one in enumerate(found[task], start=1):
            torch.testing.assert_close(one, golden(f"mtan/stage{stage}/mask")[number] * after[stage - 1], **EXACT)


def test_attention_has_the_official_gradients() -> None:
    body = state("mtan/state/backbone.body.")
    last = state("mtan/state/backbone.last.")
    first = body["0.weight"].clone().requires_grad_()
    x, before, after = golden("mtan/x"), [], []
    for stage in range(len(GOLDEN["mtan/channels"])):
        weight = first if stage == 0 else body[f"{stage}.weight"]
        x = torch.conv2d(x, weight, body[f"{stage}.bias"], stride=2 if stage == 1 else 1, padding=1).relu()
        before.append(x)
        x = torch.conv2d(x, last[f"{stage}.weight"], last[f"{stage}.bias"], padding=1).relu()
        after.append(x)
    made = attention().eval()
    found = made(before, after, ("semseg", "depth"))
    size = tuple(GOLDEN["mtan/x"].shape[-2:])
    upsampled = [nn.functional.interpolate(maps[-1], size, mode="bilinear") for maps in found.values()]
    torch.testing.assert_close(torch.stack(upsampled), golden("mtan/out_upsampled"), **EXACT)
    sum(one.square().mean() for one in upsampled).backward()
    torch.testing.assert_close(first.grad, golden("mtan/grad_backbone_first_conv_weight"), **EXACT)
    own = torch.stack([made.masks[task][0][0].weight.grad for task in ("semseg", "depth")])  # type: ignore[index, union-attr]
    torch.testing.assert_close(own, golden("mtan/grad_attention_1_first_conv_weight"), **EXACT)


def test_with_masks_of_one_every_task_sees_the_trunk() -> None:
    network, shared = build(MTAN).eval(), build(HardSharing).eval()
    for masks in network.attention.masks.values():  # type: ignore[union-attr]
        for mask in masks:
            mask[3].weight.data.zero_()
            mask[3].bias.data.fill_(1e4)
    image = batch().image
    for task, prediction in shared(image).items():
        torch.testing.assert_close(network(image)[task], prediction, rtol=1e-5, atol=1e-6)


# -- PAD-Net and MTI-Net ------------------------------------------------------------------------------------------------


def test_distillation_computes_what_the_official_module_does() -> None:
    tasks = [str(name) for name in GOLDEN["pad/aux_tasks"]]
    features = dict(zip(tasks, golden("pad/features"), strict=True))
    distillation = Distillation(tasks, features[tasks[0]].shape[1]).double()
    given = {}
    for name, value in state("pad/state/self_attention.").items():
        target, source, kind, *_ = name.split(".")
        given[f"{'gate' if kind == 'attention' else 'take'}.{target}.{source}.weight"] = value
    distillation.load_state_dict({**distillation.state_dict(), **given})
    wanted = tasks[: len(GOLDEN["pad/out"])]
    found = distillation(features, wanted)
    torch.testing.assert_close(torch.stack([found[task] for task in wanted]), golden("pad/out"), **EXACT)


@pytest.mark.parametrize("cls", [PADNet, MTINet])
def test_without_messages_features_stay_what_they_are(cls: type[Architecture]) -> None:
    network = build(cls).eval()
    for name, weight in network.named_parameters():
        if name.startswith("distillation.") and ".take." in f".{name}":
            weight.data.zero_()
    image = network.normalised(batch().image)
    for task, maps in network.features(image, list(network.tasks)).items():
        own = network.decode(image, [task])[0][task] if cls is PADNet else network.decode(image)[0][task]  # type: ignore[operator]
        assert torch.equal(maps[0], own)


@pytest.mark.parametrize("cls", [PADNet, MTINet])
def test_losses_count_first_predictions(cls: type[Architecture]) -> None:
    """One a task in PAD-Net, one a task and scale in MTI-Net; with weight 0 the final one is left."""
    network, sample = build(cls).train(), batch()
    _, auxiliary = network.predict_all(sample.image, list(network.tasks), None)
    assert len(auxiliary) == len(network.tasks) * (1 if cls is PADNet else len(network.stage_channels))
    network.eval()
    predictions, auxiliary = network.predict_all(sample.image, list(network.tasks), None)
    losses = network.losses(sample)
    for name, task in network.tasks.items():
        ones = [predictions[name], *(one for owner, one, _ in auxiliary if owner == name)]
        expected = sum(task.loss(one, sample.target(name)) for one in ones)
        torch.testing.assert_close(losses[name], expected)
    network.first_weight = 0.0  # type: ignore[assignment]
    without = network.losses(sample)
    for name, task in network.tasks.items():
        torch.testing.assert_close(without[name], task.loss(predictions[name], sample.target(name)))


@pytest.mark.parametrize("cls", [PADNet, MTINet])
@pytest.mark.parametrize("name", ["segmentation", "depth"])
def test_a_single_task_has_nobody_to_learn_from(cls: type[Architecture], name: str) -> None:
    tasks = tuple(task for task in dense_tasks() if task.name == name)
    network = build(cls, tasks).train()
    network.losses(batch(tasks))[name].backward()
    assert all(weight.grad is not None for weight in network.parameters())


@pytest.mark.parametrize("cls", [PADNet, MTINet])
def test_what_is_shipped_has_no_first_predictions(cls: type[Architecture]) -> None:
    network = build(cls).eval()
    shipped = network.deploy()
    assert not any(name.startswith("first.") for name, _ in shipped.named_parameters())
    image = batch().image
    assert all(torch.equal(one, network(image)[task]) for task, one in shipped(image).items())


def test_the_mask_chooses_among_tasks() -> None:
    tasks, channels = ["a", "b", "c"], 8
    propagation = Propagation(tasks, channels).eval()
    together = torch.randn(2, len(tasks) * channels, 4, 5)
    shares = propagation.mask(together).view(2, len(tasks), channels, 4, 5)
    torch.testing.assert_close(shares.sum(1), torch.ones(2, channels, 4, 5))
    official = Propagation(tasks, channels, strict_official=True).eval()
    shares = official.mask(together).view(2, channels, len(tasks), 4, 5)
    torch.testing.assert_close(shares.sum(2), torch.ones(2, channels, 4, 5))


def test_propagation_with_equal_tasks_shares_evenly() -> None:
    """Where the mask knows no difference, every task has the same share of every channel."""
    propagation = Propagation(["a", "b"], 8).eval()
    for weight in propagation.compare[1].parameters():
        weight.data.zero_()
    assert torch.equal(propagation.mask(torch.randn(1, 16, 3, 3)), torch.full((1, 16, 3, 3), 0.5))


# -- sizes --------------------------------------------------------------------------------------------------------------


def count(network: nn.Module) -> int:
    return sum(weight.numel() for weight in network.parameters())


NYUD = (Segmentation("semseg", 40), Depth("depth"))
PASCAL = (
    Segmentation("semseg", 21), Segmentation("human_parts", 7), Segmentation("sal", 1), Segmentation("edge", 1),
    Segmentation("normals", 3),
)  # fmt: skip


@pytest.mark.parametrize(
    ("name", "backbone", "tasks", "millions"),
    [
        ("nddr", "resnet50", NYUD, 101.6),
        ("mtan", "resnet50", NYUD, 72.05),
        ("pad_net", "resnet50", NYUD, 27.7),
        ("nddr", "resnet18", PASCAL, 88.3),
        ("mtan", "resnet18", PASCAL, 36.6),
        ("pad_net", "resnet18", PASCAL, 36.9),
    ],
)
def test_sizes_are_those_of_the_survey(
    name: str, backbone: str, tasks: tuple[Segmentation | Depth, ...], millions: float
) -> None:
    """Parameters of the survey's classes, counted by instantiating them at its settings."""
    cls = {"nddr": NDDR, "mtan": MTAN, "pad_net": PADNet}[name]
    normal = (0.5, 0.5, 0.5)
    plan = NetworkConfig(tasks, (480, 640), BackboneSpec(backbone, output_stride=8), HeadSpec(), normal, normal, seed=0)
    with torch.device("meta"):
        found = count(cls(plan, cls.configure({}, name)))
    assert found / 1e6 == pytest.approx(millions, abs=0.06)
