"""The settings of a trial that are equal for all methods: they become the protocol.

One flat list of names, the same in experiment files, on the command line and in a dataset's defaults.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from mtlbench.contract.optim import OptimizerSpec
from mtlbench.contract.run import Budget, BudgetMode
from mtlbench.errors import UserError, did_you_mean, shown
from mtlbench.networks.backbone import BackboneSpec
from mtlbench.networks.heads import HeadSpec
from mtlbench.tasks.base import Task

Radius = Annotated[float, Field(gt=0, le=255, allow_inf_nan=False)]


class Settings(BaseModel):
    """Everything that must be equal for two trials to be compared, apart from the dataset itself."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    epochs: int = Field(40, ge=1, description="passes over the training images (see budget)")
    budget: BudgetMode = Field("equal_total", description="what the epochs pay for: equal_total, equal_final or paper")
    batch_size: int = Field(8, ge=2, description="images in a training batch")
    micro_batches: int = Field(
        1, ge=1, description="pieces in which a batch passes through the network, to save memory: at least 2 images each"
    )
    backbone: str = Field(
        "resnet18", description="resnet_tiny, resnet18, resnet34, resnet50, multi_lenet or multi_lenet_no_dropout"
    )
    output_stride: Literal[8, 16, 32] = Field(8, description="how much smaller than the image the last feature map is")
    first_dilation: Literal["previous", "stage"] = Field("previous", description="dilation of a dilated stage's first block")
    ceil_pool: bool = Field(False, description="round the stem's pooled size up")
    init: Literal["he", "normal_0.01", "torch"] = Field("he", description="initial weights of the backbone's convolutions")
    pretrained: str = Field("", description="'imagenet' or the path of weights in torchvision's names; empty for none")
    head_rates: tuple[Annotated[int, Field(ge=1)], ...] = Field(
        (12, 24, 36), description="dilation rates of the dense heads' ASPP"
    )
    head_width: int = Field(256, ge=1, description="channels inside a dense head")
    head_dropout: float = Field(0.5, ge=0, lt=1, description="dropout in a dense head")
    optimizer: Literal["adam", "adamw", "sgd"] = Field("adam", description="adam, adamw or sgd")
    lr: float = Field(1e-3, gt=0, allow_inf_nan=False, description="highest learning rate")
    weight_decay: float = Field(0.0, ge=0, allow_inf_nan=False, description="weight decay")
    momentum: float = Field(0.9, ge=0, lt=1, description="momentum (sgd) or beta1")
    schedule: Literal["constant", "poly", "cosine", "step", "halved", "epoch_0.95", "10_epochs_0.85"] = Field(
        "poly", description="learning-rate schedule"
    )
    clip: float = Field(
        0.0, ge=0, allow_inf_nan=False, description="bound on the gradient norm per independent part; 0 for none"
    )
    label_share: float = Field(
        1.0,
        gt=0,
        le=1,
        description="share of the training images that keep their label, drawn per task; by the trial's seed",
    )
    auxiliary: tuple[str, ...] = Field(
        (), description="tasks that are trained, by methods that can use them, and never scored"
    )
    augment: bool = Field(True, description="use the dataset's augmentation")
    precision: Literal["fp32", "bf16", "auto"] = Field("fp32", description="fp32, bf16, or auto: bf16 where a GPU has it")
    bn_images: int = Field(
        512, ge=0, description="training images that BatchNorm statistics are recomputed on; 0: not at all"
    )
    robustness: Literal["off", "quick", "full"] = Field(
        "off", description="corruptions to evaluate under: off, quick or full"
    )
    corrupt_at: Literal["network", "native"] = Field("network", description="resolution that images are corrupted at")
    robustness_val: bool = Field(False, description="evaluate the four extra corruptions on val, for choosing by them")
    frost_textures: str = Field("", description="folder with photographs of ice for frost; empty: generated ice")
    pgd: tuple[Radius, ...] = Field(
        (), description="radii of PGD attacks (L-infinity) in units of 1/255, such as [0.25, 1, 4]; empty: no attack"
    )
    pgd_steps: int = Field(0, ge=0, description="steps of an attack; 0: ceil(max(1, min(radius + 4, 1.25 radius)))")
    pgd_on: tuple[str, ...] = Field((), description="tasks to attack, `all` for all losses; empty: each task, and all")

    @field_validator("robustness", mode="before")
    @classmethod
    def _off(cls, value: Any) -> Any:
        """YAML reads a bare `off` as false."""
        return "off" if value is False else value

    @field_validator("pretrained", "frost_textures")
    @classmethod
    def _names_a_file(cls, value: str) -> str:
        if "\0" in value:
            raise ValueError("expected the name of a file or folder")
        return value

    def backbone_spec(self) -> BackboneSpec:
        return BackboneSpec(
            self.backbone, self.output_stride, self.first_dilation, self.ceil_pool, self.init, self.pretrained
        )

    def head_spec(self) -> HeadSpec:
        return HeadSpec(tuple(self.head_rates), self.head_width, self.head_dropout)

    def optimizer_spec(self) -> OptimizerSpec:
        return OptimizerSpec(self.optimizer, self.lr, self.weight_decay, self.momentum, self.schedule, self.clip)

    def budget_spec(self) -> Budget:
        return Budget(self.budget, self.epochs)

    def scored(self, tasks: Sequence[Task]) -> tuple[Task, ...]:
        """Those of a dataset's tasks that are scored: all but the auxiliary ones.

        Raises:
            UserError: a task that the dataset does not have is auxiliary, or every one that it has.
        """
        names = [task.name for task in tasks]
        for name in self.auxiliary:
            if name not in names:
                raise UserError(f"auxiliary: there is no task {shown(name)}.{did_you_mean(name, names)}")
        scored = tuple(task for task in tasks if task.name not in self.auxiliary)
        if not scored:
            raise UserError(f"auxiliary: all tasks are ({', '.join(names)}), and one at least must be scored.")
        return scored


def make_settings(where: str, *layers: Mapping[str, Any]) -> Settings:
    """Settings from layers of values, later ones winning.

    Raises:
        UserError: an unknown name (with the nearest one) or a refused value, and `where` it was.
    """
    merged: dict[str, Any] = {}
    for layer in layers:
        merged.update(layer)
    for name in merged:
        if name not in Settings.model_fields:
            raise UserError(f"{where}: there is no setting {shown(name)}.{did_you_mean(name, Settings.model_fields)}")
    try:
        settings = Settings.model_validate(merged)
    except ValidationError as error:
        first = error.errors()[0]
        name = str(first["loc"][0])
        help_text = Settings.model_fields[name].description
        raise UserError(f"{where}: {name} = {shown(first['input'])} is refused: {first['msg']} ({help_text}).") from None
    if settings.batch_size < 2 * settings.micro_batches:
        raise UserError(
            f"{where}: micro_batches = {settings.micro_batches} is refused: {settings.batch_size} images (batch_size) give "
            "fewer than 2 a piece, too few for BatchNorm."
        )
    settings.backbone_spec()
    return settings
