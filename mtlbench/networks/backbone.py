"""Backbones: a network cut into a stem and blocks grouped into stages, the common currency of all methods."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor, nn

from mtlbench.errors import UserError, did_you_mean
from mtlbench.networks.lenet import LENETS, WIDTHS, FirstConvolution, FullyConnected, SecondConvolution
from mtlbench.networks.residual import BasicBlock, Bottleneck, ResidualBlock


@dataclass(frozen=True)
class Layout:
    """The numbers that tell one ResNet from another.

    Attributes:
        block: kind of residual block.
        blocks: how many per stage.
        width: channels of the first stage (before a bottleneck's expansion); it doubles with every stage.
        stem_kernel: size of the stem's convolution: 7, or 3 for small images.
    """

    block: type[BasicBlock] | type[Bottleneck]
    blocks: tuple[int, int, int, int]
    width: int = 64
    stem_kernel: int = 7


LAYOUTS: dict[str, Layout] = {
    "resnet_tiny": Layout(BasicBlock, (2, 2, 2, 2), width=16, stem_kernel=3),
    "resnet18": Layout(BasicBlock, (2, 2, 2, 2)),
    "resnet34": Layout(BasicBlock, (3, 4, 6, 3)),
    "resnet50": Layout(Bottleneck, (3, 4, 6, 3)),
}

RESIDUAL_BLOCKS, FEATURE_MAPS = "residual blocks", "feature maps"
"""What an architecture may need of its backbone: blocks that can be skipped; maps at several scales, halved or kept from
stage to stage. ResNets have both."""


@dataclass(frozen=True)
class BackboneSpec:
    """Which backbone, and every choice that code bases make differently. All of it is part of the protocol.

    Attributes:
        name: a key of `LAYOUTS`, or of `LENETS`: to these stride, dilation and pooling below do not apply.
        output_stride: 8, 16 or 32: later stages trade their stride for dilation.
        first_dilation: dilation of the first block of a dilated stage: "previous" stage's, as torchvision does it, or
            the "stage"'s own, as AdaShare does it (both convolutions of the block then).
        ceil_pool: round the stem's pooled size up (AdaShare) instead of down (torchvision).
        init: "he" (He et al., fan-out, as torchvision), "normal_0.01" (N(0, 0.01²), AdaShare) or "torch" (what torch's
            convolutions begin with: uniform within ±1 / √fan-in).
        pretrained: "" for none, "imagenet" for torchvision's weights, or the path of a state dict in torchvision's names.
    """

    name: str = "resnet18"
    output_stride: Literal[8, 16, 32] = 8
    first_dilation: Literal["previous", "stage"] = "previous"
    ceil_pool: bool = False
    init: Literal["he", "normal_0.01", "torch"] = "he"
    pretrained: str = ""

    def __post_init__(self) -> None:
        if self.name not in (*LAYOUTS, *LENETS):
            raise UserError(f"There is no backbone {self.name!r}.{did_you_mean(self.name, (*LAYOUTS, *LENETS))}")
        if self.output_stride not in (8, 16, 32):
            raise UserError(f"Output stride {self.output_stride} is not possible: expected 8, 16 or 32.")

    def describe(self) -> dict[str, Any]:
        """Every choice as plain values; weights from a file by their content, since a path means nothing elsewhere."""
        pretrained = self.pretrained
        if pretrained and pretrained != "imagenet":
            pretrained = f"sha256:{_digest(Path(pretrained))}"
        return {**asdict(self), "pretrained": pretrained}


def _digest(path: Path) -> str:
    try:
        with path.open("rb") as file:
            digest = hashlib.sha256()
            while block := file.read(2**20):
                digest.update(block)
            return digest.hexdigest()
    except OSError as error:
        raise UserError(f"pretrained = {path}: the weights cannot be read ({error.strerror}).") from None


class Backbone(nn.Module):
    """A stem and blocks. Maps images to one feature map per stage.

    Attributes:
        stem: always executed, never gated; `stem_channels`: of its output.
        blocks: all blocks in order.
        provides: what an architecture may need of it and finds here.
        stage_of: for every block the stage (0 …) it belongs to.
        channels: output channels of every stage; `strides`: how much smaller than the image its maps are.

    Args:
        spec: the protocol's choices.
        width: channels of the first stage, where they are not the layout's.

    Raises:
        UserError: pre-trained weights are asked for in another width than theirs.
    """

    provides: frozenset[str] = frozenset({RESIDUAL_BLOCKS, FEATURE_MAPS})

    def __init__(self, spec: BackboneSpec, width: int | None = None) -> None:
        super().__init__()
        if spec.name in LENETS:
            self._build_lenet(spec, width)
            return
        layout = LAYOUTS[spec.name]
        if width is not None and width != layout.width:
            if spec.pretrained:
                raise UserError(f"{spec.name} of width {width} has no pre-trained weights: train it with pretrained=''.")
            layout = replace(layout, width=width)
        self.stem = stem(layout, spec.ceil_pool)
        self.stem_channels = layout.width
        self.stage_of: list[int] = []
        self.channels: list[int] = []
        self.strides: list[int] = []
        blocks: list[ResidualBlock] = []
        stride_so_far, dilation, channels = 4, 1, layout.width
        for stage, count in enumerate(layout.blocks):
            stage_width, stride, before = layout.width * 2**stage, 1 if stage == 0 else 2, dilation
            if stride_so_far * stride > spec.output_stride:
                stride, dilation = 1, dilation * 2
            stride_so_far *= stride
            for number in range(count):
                first = number == 0
                first_dilation = before if first and spec.first_dilation == "previous" else dilation
                # torchvision's bottleneck has one 3×3 convolution, so "previous" decides the whole block there; for a
                # basic block the second convolution already works on the stage's grid and takes the stage's dilation.
                blocks.append(layout.block(channels, stage_width, stride if first else 1, dilation, first_dilation))
                channels = stage_width * layout.block.expansion
                self.stage_of.append(stage)
            self.channels.append(channels)
            self.strides.append(stride_so_far)
        self.blocks = nn.ModuleList(blocks)
        initialise(self, spec)

    def _build_lenet(self, spec: BackboneSpec, width: int | None) -> None:
        """A stage per layer: the second convolution, and the fully connected layer."""
        if width is not None:
            raise UserError(f"{spec.name} comes in one width: choose a ResNet as backbone.")
        if spec.pretrained:
            raise UserError(f"{spec.name} has no pre-trained weights: train it with pretrained=''.")
        self.provides = frozenset()
        self.stem = FirstConvolution()
        self.stem_channels = WIDTHS[0]
        self.blocks = nn.ModuleList([SecondConvolution(LENETS[spec.name].dropout), FullyConnected()])
        self.stage_of, self.channels, self.strides = [0, 1], list(WIDTHS[1:]), [7, 28]
        initialise(self, spec)

    def stage_ends(self) -> list[int]:
        """Index of the last block of every stage."""
        return [i for i, stage in enumerate(self.stage_of) if i + 1 == len(self.stage_of) or self.stage_of[i + 1] != stage]

    def forward(self, image: Tensor) -> list[Tensor]:
        """Normalised images [B, 3, H, W] → one map [B, C_s, H / stride_s, W / stride_s] per stage."""
        x, maps, ends = self.stem(image), [], set(self.stage_ends())
        for number, block in enumerate(self.blocks):
            x = block(x)
            if number in ends:
                maps.append(x)
        return maps


def stem(layout: Layout, ceil_pool: bool) -> nn.Module:
    """Convolution of stride 2, BatchNorm, ReLU and max-pooling of stride 2."""
    return nn.Sequential(
        nn.Conv2d(3, layout.width, layout.stem_kernel, 2, layout.stem_kernel // 2, bias=False),
        nn.BatchNorm2d(layout.width),
        nn.ReLU(inplace=True),
        nn.MaxPool2d(3, 2, 1, ceil_mode=ceil_pool),
    )


def initialise(backbone: Backbone, spec: BackboneSpec) -> None:
    """Draw the initial weights from torch's current random state, then load pre-trained ones if asked for."""
    if spec.init == "torch" and not spec.pretrained:
        return
    fill: Callable[[Tensor], Tensor]
    if spec.init == "he":

        def fill(weight: Tensor) -> Tensor:
            return nn.init.kaiming_normal_(weight, mode="fan_out", nonlinearity="relu")
    else:

        def fill(weight: Tensor) -> Tensor:
            return nn.init.normal_(weight, std=0.01)

    for module in backbone.modules():
        if isinstance(module, nn.Conv2d):
            fill(module.weight)
    if spec.pretrained:
        load_torchvision(backbone, pretrained_state(spec))


def pretrained_state(spec: BackboneSpec) -> dict[str, Tensor]:
    """A state dict in torchvision's names.

    Raises:
        UserError: no such file, torchvision has no weights of this backbone, or they cannot be downloaded.
    """
    if spec.pretrained != "imagenet":
        path = Path(spec.pretrained)
        if not path.is_file():
            raise UserError(f"There are no pre-trained weights at {path}: give 'imagenet' or a state dict's path.")
        return torch.load(path, map_location="cpu", weights_only=True)
    from torchvision.models import get_model_weights

    try:
        return get_model_weights(spec.name).DEFAULT.get_state_dict(progress=False)
    except ValueError:
        raise UserError(
            f"torchvision has no ImageNet weights for {spec.name}; use resnet18, resnet34 or resnet50."
        ) from None
    except OSError as error:
        raise UserError(
            f"The ImageNet weights of {spec.name} could not be downloaded ({error}): download them elsewhere and give "
            "the file's path instead of 'imagenet'."
        ) from None


def load_torchvision(backbone: Backbone, state: dict[str, Tensor]) -> None:
    """Load weights in torchvision's names (`conv1`, `bn1`, `layer1.0.conv1`, …); its classifier is ignored.

    Raises:
        UserError: names or shapes do not fit.
    """
    renamed: dict[str, Tensor] = {}
    first_block = [backbone.stage_of.index(stage) for stage in range(len(backbone.channels))]
    for name, value in state.items():
        part, _, rest = name.partition(".")
        if part == "fc":
            continue
        if part.startswith("layer"):
            number, _, rest = rest.partition(".")
            renamed[f"blocks.{first_block[int(part[5:]) - 1] + int(number)}.{rest}"] = value
        else:
            renamed[f"stem.{0 if part == 'conv1' else 1}.{rest}"] = value
    try:
        backbone.load_state_dict(renamed)
    except RuntimeError as error:
        raise UserError(f"The pre-trained weights do not fit the backbone: {str(error).splitlines()[-1].strip()}") from None
