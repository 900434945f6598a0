"""NDDR, MTAN and PAD-Net's distillation against the survey's implementations, their limits, and the published sizes.

Tasks, channels, stages and strides are those of the arrays (tests/golden/fusion_attention.npz).
"""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from mtlbench.contract import Architecture, NetworkConfig
from mtlbench.methods._shared.distillation import Distillation
from mtlbench.methods.hard_sharing import HardSharing
from mtlbench.methods.mtan import MTAN, Attention
from mtlbench.methods.mti_net import MTINet, Propagation
from mtlbench.methods.nddr import NDDR, Fusion, FusionLayer
from mtlbench.methods.pad_net import PADNet
from mtlbench.methods.single_task import SingleTask
from mtlbench.networks.backbone import BackboneSpec
from mtlbench.networks.heads import HeadSpec
from mtlbench.tasks import Depth, Segmentation, Task
from tests.methods.golden_features import load, state, tensor
from tests.tiny import batch, build, dense_tasks
from tests.tiny_methods import GOLDEN, parameters_of

FILE = np.load(GOLDEN / "fusion_attention.npz")
TASKS = [str(name) for name in FILE["vdh/tasks"]]


def golden(name: str) -> Tensor:
    return tensor(FILE, name)


def close(values: Tensor | None, expected: Tensor, tolerance: float = 1e-9) -> None:
    assert values is not None
    torch.testing.assert_close(values.detach().double(), expected, rtol=tolerance, atol=tolerance)


# -- NDDR ---------------------------------------------------------------------------------------------------------------


def convolution(layer: FusionLayer) -> nn.Conv2d:
    first = layer[0]
    assert isinstance(first, nn.Conv2d)
    return first


def normalisation(layer: FusionLayer) -> nn.BatchNorm2d:
    second = layer[1]
    assert isinstance(second, nn.BatchNorm2d)
    return second


def test_fusion_starts_as_the_official_layer() -> None:
    """Our rows sum to 1 for any number of tasks; where the official β says otherwise only the own channels' α agrees."""
    expected = golden("nddr/init/conv_weight")
    tasks, channels, _ = expected.shape
    alpha, beta = FILE["vdh/alpha_beta"].tolist()
    fusion = Fusion(tasks, channels, alpha).double().eval()
    weight = torch.stack([convolution(layer).weight[:, :, 0, 0] for layer in fusion.layers])
    for target in range(tasks):
        own = slice(target * channels, (target + 1) * channels)
        close(weight[target][:, own], expected[target][:, own], 1e-6)
    if np.isclose(alpha + (tasks - 1) * beta, 1):
        close(weight, expected, 1e-6)
    for layer, official in zip(fusion.layers, expected, strict=True):
        convolution(layer).weight.data = official[:, :, None, None]
    close(torch.stack(fusion(list(golden("vdh_cross/features")))), golden("nddr/init/eval_out"), 1e-6)


def test_fusion_computes_what_the_official_layer_does() -> None:
    tasks, channels = FILE["nddr/random/running_mean_after"].shape
    values = {
        f"layers.{TASKS.index(task)}.{rest}": value
        for name, value in state(FILE, "nddr/random/state/layer.").items()
        for task, _, rest in [name.partition(".")]
    }
    fusion = load(Fusion(tasks, channels, 0.9), values)
    assert {normalisation(layer).momentum for layer in fusion.layers} == {float(FILE["nddr/bn_momentum"])}
    features = golden("vdh_cross/features").requires_grad_()
    close(torch.stack(fusion.eval()(list(features))), golden("nddr/random/eval_out"))
    fused: list[Tensor] = fusion.train()(list(features))
    close(torch.stack(fused), golden("nddr/random/train_out"))
    torch.stack([maps.square().mean() for maps in fused]).sum().backward()
    close(features.grad, golden("nddr/random/train_grad_features"))
    for name in ("running_mean", "running_var"):
        after = torch.stack([normalisation(layer).get_buffer(name) for layer in fusion.layers])
        close(after, golden(f"nddr/random/{name}_after"))


def test_fusion_of_own_features_alone_leaves_single_task_networks() -> None:
    fused, single = build(NDDR, own_weight=1.0).eval(), build(SingleTask).eval()
    image = batch().image
    for task, prediction in single(image).items():
        # BatchNorm's ε shrinks every map a little.
        torch.testing.assert_close(fused(image)[task], prediction, rtol=1e-3, atol=1e-4)


def test_fusion_adds_a_convolution_and_two_vectors_per_task() -> None:
    tasks = len(dense_tasks())
    fused, single = build(NDDR), build(SingleTask)
    widths = [fused.stage_channels[0], *fused.stage_channels]
    added = sum(tasks**2 * width**2 + 2 * tasks * width for width in widths)
    assert parameters_of(fused) - parameters_of(single) == added


# -- MTAN ---------------------------------------------------------------------------------------------------------------

CHANNELS = FILE["mtan/channels"].tolist()


def attention() -> Attention:
    """The golden attention."""
    values = {}
    for name, value in state(FILE, "mtan/state/").items():
        part, _, rest = name.partition(".")
        kind, _, stage = part.partition("_")
        if kind == "attention":
            task, _, inner = rest.partition(".")
            values[f"masks.{task}.{int(stage) - 1}.{inner}"] = value
        elif kind == "refine":
            values[f"refine.{int(stage) - 1}.{rest.removeprefix('0.')}"] = value
    return load(Attention(TASKS, CHANNELS, narrowest=1), values).eval()


def test_attention_computes_what_the_official_network_does() -> None:
    stages = range(1, len(CHANNELS) + 1)
    before, after = (
        [golden(f"mtan/stage{stage}/u_{place}_last_block") for stage in stages] for place in ("before", "after")
    )
    attended: dict[str, list[Tensor]] = attention()(before, after, TASKS)
    for number, task in enumerate(TASKS):
        close(attended[task][-1], golden(f"mtan/a{len(CHANNELS)}")[number])
        for stage, maps in enumerate(attended[task], start=1):
            close(maps, golden(f"mtan/stage{stage}/mask")[number] * after[stage - 1])


def test_attention_has_the_official_gradients() -> None:
    body, last = (state(FILE, f"mtan/state/backbone.{part}.") for part in ("body", "last"))
    first = body["0.weight"].clone().requires_grad_()
    x, before, after = golden("mtan/x"), [], []
    halved = FILE["mtan/downsample_after_stage"].tolist()
    for stage in range(len(CHANNELS)):
        weight = first if stage == 0 else body[f"{stage}.weight"]
        stride = 2 if stage and halved[stage - 1] else 1
        x = torch.conv2d(x, weight, body[f"{stage}.bias"], stride=stride, padding=1).relu()
        before.append(x)
        x = torch.conv2d(x, last[f"{stage}.weight"], last[f"{stage}.bias"], padding=1).relu()
        after.append(x)
    layers = attention()
    attended: dict[str, list[Tensor]] = layers(before, after, TASKS)
    size = (FILE["mtan/x"].shape[-2], FILE["mtan/x"].shape[-1])
    upsampled = [nn.functional.interpolate(maps[-1], size, mode="bilinear") for maps in attended.values()]
    close(torch.stack(upsampled), golden("mtan/out_upsampled"))
    torch.stack([maps.square().mean() for maps in upsampled]).sum().backward()
    close(first.grad, golden("mtan/grad_backbone_first_conv_weight"))
    own = [layers.masks[task][0].get_parameter("0.weight").grad for task in TASKS]
    close(
        torch.stack([gradient for gradient in own if gradient is not None]),
        golden("mtan/grad_attention_1_first_conv_weight"),
    )


def test_with_masks_of_one_every_task_sees_the_trunk() -> None:
    network, shared = build(MTAN).eval(), build(HardSharing).eval()
    for masks in network.attention.masks.values():
        for mask in masks:
            mask.get_parameter("3.weight").data.zero_()
            mask.get_parameter("3.bias").data.fill_(1e4)
    image = batch().image
    for task, prediction in shared(image).items():
        torch.testing.assert_close(network(image)[task], prediction, rtol=1e-5, atol=1e-6)


# -- PAD-Net and MTI-Net ------------------------------------------------------------------------------------------------

DISTILLING = pytest.mark.parametrize("cls", [PADNet, MTINet])


def test_distillation_computes_what_the_official_module_does() -> None:
    tasks = [str(name) for name in FILE["pad/aux_tasks"]]
    features = dict(zip(tasks, golden("pad/features"), strict=True))
    distillation = Distillation(tasks, features[tasks[0]].shape[1]).double()
    given = {}
    for name, value in state(FILE, "pad/state/self_attention.").items():
        target, source, kind, *_ = name.split(".")
        given[f"{'gate' if kind == 'attention' else 'message'}.{target}.{source}.weight"] = value
    _, unexpected = distillation.load_state_dict(given, strict=False)
    assert not unexpected
    wanted = tasks[: len(FILE["pad/out"])]
    distilled: dict[str, Tensor] = distillation(features, wanted)
    close(torch.stack([distilled[task] for task in wanted]), golden("pad/out"))


@DISTILLING
def test_without_messages_features_stay_what_they_are(cls: type[PADNet | MTINet]) -> None:
    network = build(cls).eval()
    distillations = network.distillation if isinstance(network, MTINet) else [network.distillation]
    for distillation in distillations:
        for weight in distillation.message.parameters():
            weight.data.zero_()
    image, tasks = network.normalised(batch().image), list(network.tasks)
    first_scale = network.decode(image)[0] if isinstance(network, MTINet) else network.decode(image, tasks)[0]
    for task, maps in network.features(image, tasks).items():
        assert torch.equal(maps[0], first_scale[task])


@DISTILLING
def test_losses_count_first_predictions(cls: type[PADNet | MTINet]) -> None:
    """One per task in PAD-Net, one per task and scale in MTI-Net; with weight 0 the final one is left."""
    network, sample = build(cls).train(), batch()
    _, auxiliary = network.predict_all(sample.image, list(network.tasks), None)
    assert len(auxiliary) == len(network.tasks) * (1 if cls is PADNet else len(network.stage_channels))
    network.eval()
    predictions, auxiliary = network.predict_all(sample.image, list(network.tasks), None)
    losses = network.losses(sample)
    for name, task in network.tasks.items():
        of_task = [predictions[name], *(prediction for owner, prediction, _ in auxiliary if owner == name)]
        expected = torch.stack([task.loss(prediction, sample.target(name)) for prediction in of_task]).sum()
        torch.testing.assert_close(losses[name], expected)
    network.first_weight = 0.0
    without = network.losses(sample)
    for name, task in network.tasks.items():
        torch.testing.assert_close(without[name], task.loss(predictions[name], sample.target(name)))


@DISTILLING
@pytest.mark.parametrize("name", ["segmentation", "depth"])
def test_a_single_task_has_nobody_to_learn_from(cls: type[Architecture], name: str) -> None:
    tasks = tuple(task for task in dense_tasks() if task.name == name)
    network = build(cls, tasks).train()
    network.losses(batch(tasks))[name].backward()
    assert all(weight.grad is not None for weight in network.parameters())


@DISTILLING
def test_what_is_shipped_has_no_first_predictions(cls: type[PADNet | MTINet]) -> None:
    network = build(cls).eval()
    shipped = network.deploy()
    left_out = {id(weight) for weight in network.first.parameters()}
    assert left_out and left_out.isdisjoint({id(weight) for weight in shipped.parameters()})
    image = batch().image
    assert all(torch.equal(prediction, network(image)[task]) for task, prediction in shipped(image).items())


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

NYUD = (Segmentation("semseg", 40), Depth("depth"))
PASCAL = (
    Segmentation("semseg", 21), Segmentation("human_parts", 7), Segmentation("sal", 1), Segmentation("edge", 1),
    Segmentation("normals", 3),
)  # fmt: skip


@pytest.mark.parametrize(
    ("cls", "backbone", "tasks", "millions"),
    [
        (NDDR, "resnet50", NYUD, 101.6),
        (MTAN, "resnet50", NYUD, 72.05),
        (PADNet, "resnet50", NYUD, 27.7),
        (NDDR, "resnet18", PASCAL, 88.3),
        (MTAN, "resnet18", PASCAL, 36.6),
        (PADNet, "resnet18", PASCAL, 36.9),
    ],
)
def test_sizes_are_those_of_the_survey(
    cls: type[Architecture], backbone: str, tasks: tuple[Task, ...], millions: float
) -> None:
    """Parameters of the survey's classes, counted by instantiating them at its settings."""
    normal = (0.5, 0.5, 0.5)
    config = NetworkConfig(tasks, (480, 640), BackboneSpec(backbone, output_stride=8), HeadSpec(), normal, normal, seed=0)
    with torch.device("meta"):
        counted = parameters_of(cls(config, cls.configure({}, cls.__name__)))
    assert counted / 1e6 == pytest.approx(millions, abs=0.06)


def test_the_shortcut_is_projected_between_equally_wide_stages_too() -> None:
    narrow, equal = Attention(["depth"], [8, 16]).refine[0], Attention(["depth"], [16, 16]).refine[0]
    assert narrow.downsample is not None and equal.downsample is not None
    x = torch.randn(2, 16, 4, 4)
    assert not torch.equal(equal.downsample(x), x)
