"""Networks of finished trials, to predict with."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from mtlbench.api.images import ImageLike, as_image
from mtlbench.api.outputs import decode
from mtlbench.errors import UserError, did_you_mean
from mtlbench.leaderboard.find_records import find
from mtlbench.networks.heads import resize
from mtlbench.networks.placement import on_device
from mtlbench.records import Record, read
from mtlbench.running.progress import RECORD
from mtlbench.running.trained import dataset_of, read_spec, selected_network
from mtlbench.running.trial import autocast_of
from mtlbench.tasks.base import Task


@dataclass(frozen=True)
class Trained:
    """The selected network of a finished trial.

    Attributes:
        record: what the trial measured.
        network: the deployed network in evaluation mode: float32 images [B, 3, H, W] in [0, 1] → task → raw output,
            [B, channels, H, W] of dense tasks, [B, channels] of others.
        tasks: those that were scored, by name, in the order tables show them.
        image_size: (height, width) of the images that it was trained on.
        precision: "fp32" or "bf16": what it was evaluated in; used on GPUs alone.
    """

    record: Record
    network: nn.Module
    tasks: dict[str, Task]
    image_size: tuple[int, int]
    precision: str = "fp32"

    @classmethod
    def from_record(
        cls,
        name: str | Path,
        *,
        runs: str | Path = "runs",
        results: str | Path = "results",
        dataset: str | None = None,
        device: str | torch.device = "cpu",
        trust: bool = False,
    ) -> Trained:
        """The network of a record; its weights are in the folder of its run, and no data is needed.

        Args:
            name: the record's id, its beginning, its file, or the name of a row that has one seed.
            runs: the folder of runs (`--runs` of the command that trained).
            results: the folder of records, where names of rows are looked up.
            dataset: where a row's name is on several.
            device: where the network computes.
            trust: plugin code that the run's folder carries may be executed though the same file is not on this machine.

        Raises:
            UserError: no such record, several of that name, or its weights are not here: what to do.
        """
        folder = _folder_of(str(name), Path(runs), Path(results), dataset)
        spec = read_spec(folder, trust)
        plugin = dataset_of(spec)
        network = on_device(selected_network(spec, folder, plugin), torch.device(device))
        tasks = {task.name: task for task in spec.settings.scored(plugin.tasks)}
        return cls(read(folder / RECORD), network, tasks, plugin.image_size, spec.precision)

    @property
    def id(self) -> str:
        """The record's id."""
        return self.record.id

    @property
    def title(self) -> str:
        """Dataset, row and seed."""
        return f"{self.record.dataset} · {self.record.row} · seed {self.record.seed}"

    @property
    def device(self) -> torch.device:
        """Where the network computes."""
        return next(self.network.parameters()).device

    def predict(
        self, image: ImageLike, tasks: Sequence[str] | None = None, *, size: tuple[int, int] | None = None
    ) -> dict[str, Tensor]:
        """Task → what it predicts for one image, dense ones at the image's own size, on the CPU; see `decode` for the units.

        Args:
            image: a file, a Pillow image, bytes, or floats in [0, 1].
            tasks: which tasks; None for all.
            size: (height, width) that the network sees; the size it was trained on by default. The image is scaled to
                it, so one of another shape is stretched.

        Raises:
            UserError: an image or a task that is refused.
        """
        raw = self.outputs(image, tasks, size=size)
        return {name: decode(self.tasks[name], output) for name, output in raw.items()}

    @torch.no_grad()
    def outputs(
        self, image: ImageLike, tasks: Sequence[str] | None = None, *, size: tuple[int, int] | None = None
    ) -> dict[str, Tensor]:
        """Task → raw output for one image, [channels, H, W] at the image's own size or [channels], float32 on the CPU."""
        names = list(self.tasks) if tasks is None else list(tasks)
        for name in names:
            if name not in self.tasks:
                raise UserError(f"{self.title} has no task {name!r}.{did_you_mean(name, self.tasks)}")
        own = as_image(image)
        seen = self.seen(own, size)[None].to(self.device)
        with autocast_of(self.precision if self.device.type == "cuda" else "fp32", self.device)():
            predicted = self.network(seen, names, None)
        return {name: self._at_size(name, predicted[name].float().cpu(), (own.shape[1], own.shape[2])) for name in names}

    def seen(self, image: Tensor, size: tuple[int, int] | None = None) -> Tensor:
        """An image float32 [3, H, W] as the network sees it: scaled to the size that it was trained on, or to `size`.

        Raises:
            UserError: a size of less than one pixel.
        """
        height, width = size or self.image_size
        if height < 1 or width < 1:
            raise UserError(f"An image of {height} x {width} pixels is refused: expected one pixel or more each way.")
        if image.shape[1:] == (height, width):
            return image
        scaled = nn.functional.interpolate(image[None], (height, width), mode="bilinear", antialias=True)[0]
        return scaled.clamp(0, 1)

    def _at_size(self, name: str, output: Tensor, size: tuple[int, int]) -> Tensor:
        return resize(output, size)[0] if self.tasks[name].dense else output[0]


def _folder_of(name: str, runs: Path, results: Path, dataset: str | None) -> Path:
    """The run's folder of the one record that a name means."""
    begun = sorted(path.parent for path in runs.glob(f"{name}*/selected.pt")) if name.isalnum() and len(name) >= 4 else []
    if len(begun) == 1:
        return begun[0]
    if not results.is_dir() and not Path(name).is_file():
        raise UserError(
            f"There is no trained network {name!r} in {runs}, and no folder of records {results} to look it up in."
        )
    records = find(results, name, dataset)
    if len(records) > 1:
        ids = ", ".join(f"{record.id} (seed {record.seed})" for record in records)
        raise UserError(f"{name!r} names {len(records)} records: give the id of one, {ids}.")
    folder = runs / records[0].id
    if not (folder / "selected.pt").is_file():
        record = records[0]
        raise UserError(
            f"The weights of record {record.id} ({record.row} on {record.dataset}, seed {record.seed}) are not in {runs}: "
            f"name the folder that was its --runs, or train it again (`mtlbench reproduce {record.id} --out DIR` keeps them "
            f"in DIR/reproduced-{record.id}/runs)."
        )
    return folder
