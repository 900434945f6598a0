"""A trial's specification: one method on one dataset with one seed and one set of settings, and its content id.

It is plain data (JSON), so that it can travel to a worker on another machine; plugin files from outside the installed
package travel with it, path and text.
"""

from __future__ import annotations

import hashlib
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from mtlbench.config.method import Method, reference_method, resolve
from mtlbench.config.plugins import Registry
from mtlbench.config.settings import Settings
from mtlbench.planning import plugin_files
from mtlbench.records import Tuning, canonical


class DataSpec(BaseModel):
    """A dataset with its options.

    Attributes:
        name: the plugin's.
        options: all of its options.
        root: the folder of raw files; None for the plugin's default.
        cache: the folder of prepared data.
        skip_bad: leave unreadable samples out instead of stopping.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str
    options: dict[str, Any] = Field(default_factory=dict)
    root: str | None = None
    cache: str
    skip_bad: bool = False


class Specification(BaseModel):
    """What a record keeps of a trial's specification, so that the trial can be planned again elsewhere.

    What follows from it there is left out (protocol, sources), and so are the folders of one machine.

    Attributes:
        hypers: the given hyper-parameters.
        options: all of the dataset's.
        settings: all of them, by name.
        precision: what the settings' precision resolved to.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    method: str
    label: str
    hypers: dict[str, Any]
    dataset: str
    options: dict[str, Any]
    skip_bad: bool
    seed: int
    settings: dict[str, Any]
    precision: str
    threads: int
    diagnose: tuple[str, ...]


class TrialSpec(BaseModel):
    """All that a trial is.

    Attributes:
        method: name as in the leaderboard row; label: a named variant's own.
        hypers: the given hyper-parameters (the rest is at its defaults).
        data: the dataset.
        seed: of weights, data order, augmentation and the method's own draws.
        settings: the protocol's settings.
        precision: what the settings' precision resolved to.
        protocol: the protocol card.
        sources: plugin → hash of its source: an edited plugin is another trial.
        files: Python files of plugins from extra folders, path → text.
        threads: CPU threads; decides bits, not meaning, so it is no part of the id.
        diagnose: measures taken during training on request.
        tuning: the trial's place in a search for hyper-parameters; None outside of one.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    method: str
    label: str = ""
    hypers: dict[str, Any] = Field(default_factory=dict)
    data: DataSpec
    seed: int
    settings: Settings
    precision: str
    protocol: dict[str, Any]
    sources: dict[str, str]
    files: dict[str, str] = Field(default_factory=dict)
    threads: int = 1
    diagnose: tuple[str, ...] = ()
    tuning: Tuning | None = None

    @property
    def id(self) -> str:
        """12 hexadecimal digits: the hash of what decides the result."""
        content = {
            "method": self.method,
            "label": self.label,
            "hypers": self.hypers,
            "data": self.data.options,
            "seed": self.seed,
            "protocol": self.protocol,
            "sources": self.sources,
            "diagnose": list(self.diagnose),
        }
        if self.tuning is not None:
            # The card of a tuned trial says "tuned" where settings are searched: their values stand here.
            content["tuning"] = self.tuning.model_dump(include={"role", "number", "values"})
        return hashlib.sha256(canonical(content).encode()).hexdigest()[:12]

    @property
    def row(self) -> str:
        return self.label or self.method

    @property
    def title(self) -> str:
        """For progress lines: dataset, row and seed."""
        place = "" if self.tuning is None else f" · {self.tuning.role} {self.tuning.number}"
        return f"{self.data.name} · {self.row}{place} · seed {self.seed}"

    @property
    def is_reference(self) -> bool:
        return self.method == reference_method() and not self.label

    def file_name(self) -> str:
        """Name of the record's file: readable, and unique by the id."""
        plain = "".join(c if c.isalnum() or c in "-_+." else "_" for c in self.row)
        return f"{plain}-seed{self.seed}-{self.id}.json"

    def specification(self) -> Specification:
        """What is kept of it in a record."""
        return Specification(
            method=self.method,
            label=self.label,
            hypers=self.hypers,
            dataset=self.data.name,
            options=self.data.options,
            skip_bad=self.data.skip_bad,
            seed=self.seed,
            settings=self.settings.model_dump(mode="json"),
            precision=self.precision,
            threads=self.threads,
            diagnose=self.diagnose,
        )

    def registry(self) -> Registry:
        """Plugins as this trial needs them: files from outside are taken where they are, or written anew from their text."""
        return Registry(plugin_files.folders(self.files))

    def resolve(self, registry: Registry) -> Method:
        """The method's plugins and all of its hyper-parameters."""
        return resolve(self.method, self.hypers, registry)
