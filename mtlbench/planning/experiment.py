"""What to run: an experiment's fields, read from a file or made from the command line, and checked.

    name: my-comparison
    methods: [single_task, hard_sharing, {name: cross_stitch, set: {own_weight: 0.8}, label: gentle stitching}]
    datasets: [streets, {name: cityscapes, root: /data/cityscapes, set: {classes: 19}, settings: {epochs: 60}}]
    seeds: 3
    settings: {epochs: 20, backbone: resnet18}

`docs/experiments.md` explains the fields; `mtlbench list experiment` prints them.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from mtlbench.errors import UserError, did_you_mean, shown
from mtlbench.planning.yaml_text import read_yaml

SEARCHABLE = ("lr", "weight_decay", "momentum", "clip")
"""Settings that may be searched with every method: those of the optimizer."""


MAX_SEEDS = 100_000

MAX_LABEL = 150
"""Bytes; file systems allow names of 255."""


class MethodEntry(BaseModel):
    """A method to run."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str = Field(description="a method; a+s combines an architecture and a strategy")
    set: dict[str, Any] = Field(default_factory=dict, description="hyper-parameters (mtlbench list METHOD)")
    settings: dict[str, Any] = Field(
        default_factory=dict, description="settings that differ for this method: its rows get a protocol of their own"
    )
    label: str = Field(default="", description="what its row is called, where a method is there several times")

    @field_validator("label")
    @classmethod
    def _names_a_file(cls, value: str) -> str:
        if not value.isprintable() or len(value.encode()) > MAX_LABEL:
            raise ValueError(f"expected one line of {MAX_LABEL} bytes at most, since files are named by it")
        return value


class DatasetEntry(BaseModel):
    """A dataset to run on."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str = Field(description="a dataset")
    set: dict[str, Any] = Field(default_factory=dict, description="options (mtlbench list DATASET)")
    settings: dict[str, Any] = Field(default_factory=dict, description="settings that differ on this dataset")
    root: str | None = Field(default=None, description="folder of the raw files; without it, the dataset's default")

    @field_validator("root")
    @classmethod
    def _names_a_folder(cls, value: str | None) -> str | None:
        if value is not None and "\0" in value:
            raise ValueError("expected the name of a folder")
        return value


class TuneEntry(BaseModel):
    """A search for hyper-parameters, the same for every method."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    trials: int = Field(default=20, ge=1, description="trials per method and dataset, the defaults being the first")
    search: str = Field(
        default="sobol", description="how configurations are drawn: sobol, random, optuna, or another searcher of Ray Tune"
    )
    scheduler: Literal["none", "asha"] = Field(
        default="none", description="asha ends trials early that are behind on val; their rows are marked"
    )
    seed: int = Field(default=1000, description="of the draws and of the trials; must not be among `seeds`")
    settings: dict[str, tuple[float, float]] = Field(
        default_factory=lambda: {"lr": (1e-4, 1e-2), "weight_decay": (1e-6, 1e-3)},
        description="settings that are searched with every method: NAME: [low, high], on a logarithmic scale",
    )

    @field_validator("settings")
    @classmethod
    def _searchable(cls, value: dict[str, tuple[float, float]]) -> dict[str, tuple[float, float]]:
        for name, (low, high) in value.items():
            if name not in SEARCHABLE:
                raise ValueError(f"{name} cannot be searched: expected some of {', '.join(SEARCHABLE)}")
            if not 0 < low < high:
                raise ValueError(f"{name} is searched in [{low:g}, {high:g}]: expected 0 < low < high")
        return value


class Experiment(BaseModel):
    """A checked experiment."""

    model_config = ConfigDict(extra="forbid")

    name: str = Field(default="experiment", description="what error messages call it")
    description: str = Field(default="", description="a sentence for readers of the file")
    methods: list[MethodEntry] = Field(description="what to run: names, or entries with the fields below")
    datasets: list[DatasetEntry] = Field(description="what to run it on: names, or entries with the fields below")
    seeds: int | list[int] = Field(default=1, description="how many seeds (3 stands for 0, 1 and 2), or a list of them")
    settings: dict[str, Any] = Field(
        default_factory=dict, description="what is equal for all methods (mtlbench list settings)"
    )
    reference: bool = Field(
        default=True, description="run the single-task networks that Δ needs where their records are missing"
    )
    diagnose: list[str] = Field(default_factory=list, description="measures taken during training: gradients")
    tune: TuneEntry | None = Field(default=None, description="how `mtlbench tune` searches (docs/tuning.md)")

    @field_validator("methods", "datasets", mode="before")
    @classmethod
    def _entries_of_names(cls, value: object) -> object:
        """A bare name stands for an entry of that name."""
        if not isinstance(value, list):
            return value
        return [{"name": entry} if isinstance(entry, str) else entry for entry in value]

    @field_validator("seeds")
    @classmethod
    def _some_seeds(cls, value: int | list[int]) -> int | list[int]:
        count = value if isinstance(value, int) else len(value)
        if not 1 <= count <= MAX_SEEDS:
            raise ValueError(f"expected at least one seed, and {MAX_SEEDS:,} at most")
        return value

    @property
    def seed_list(self) -> list[int]:
        return list(range(self.seeds)) if isinstance(self.seeds, int) else self.seeds


def load_experiment(path: Path) -> Experiment:
    """Read an experiment file.

    Raises:
        UserError: no such file, not YAML, an unknown field (with the nearest one), or a refused value.
    """
    try:
        raw = read_yaml(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UserError(f"The experiment {path} cannot be read: {error.strerror}. Examples are in experiments/.") from None
    except UnicodeDecodeError:
        raise UserError(f"{path} is not valid YAML: it is no text in UTF-8.") from None
    except ValueError as error:
        raise UserError(f"{path} is not valid YAML: {error}") from None
    if not isinstance(raw, dict):
        raise UserError(f"{path}: expected fields such as methods and datasets, found {type(raw).__name__}.")
    return make_experiment(raw, str(path))


def make_experiment(raw: Mapping[str, Any], where: str) -> Experiment:
    """An experiment from plain values.

    Args:
        where: the file, or what else errors should name.

    Raises:
        UserError: an unknown field (with the nearest one), or a refused value.
    """
    try:
        return Experiment.model_validate(raw)
    except ValidationError as error:
        first = error.errors()[0]
        place = first["loc"]
        field = ".".join(str(part) for part in place)
        if first["type"] == "extra_forbidden":
            hint = did_you_mean(str(place[-1]), _fields_around(place))
            raise UserError(f"{where}: there is no field {shown(field)}.{hint}") from None
        raise UserError(f"{where}: {field}: {first['msg']} (found {shown(first['input'])}).") from None


def _fields_around(place: tuple[int | str, ...]) -> list[str]:
    """The fields that exist beside a place in an experiment."""
    if len(place) == 1:
        return list(Experiment.model_fields)
    entries: dict[int | str, type[BaseModel]] = {"methods": MethodEntry, "datasets": DatasetEntry, "tune": TuneEntry}
    return list(entries[place[0]].model_fields)
