"""Which weights a trial ends with, and the files they lie in. It knows evaluations and tensors, and no training.

Every independent part of the network (sets of tasks that no parameter connects) ends with the epoch of its best mean skill
on val. On request all epochs that could have been selected are kept, for looking back (`mtlbench.records.epochs_on_test`).
"""

from __future__ import annotations

import math
import os
from pathlib import Path
from typing import Any

import torch

from mtlbench.contract import Architecture
from mtlbench.contract.run import derive_seed
from mtlbench.errors import UserError
from mtlbench.records import Evaluation


class Selection:
    """The best epochs so far.

    Args:
        folder: the trial's.
        keep: keep the weights of every epoch offered.

    Attributes:
        best: part of the network (its tasks, joined by "+") → (mean skill on val, epoch).
    """

    def __init__(self, folder: Path, keep: bool = False) -> None:
        self.folder, self.keep = folder, keep
        self.best: dict[str, tuple[float, int]] = {}

    def offer(self, network: Architecture, val: Evaluation, epoch: int) -> None:
        """Keep the weights of every part that is better than before; the first of equals stays."""
        state, owners = network.state_dict(), network.owners()
        for tasks in network.parts():
            name = "+".join(tasks)
            skills = [val.skill[task] for task in tasks if task in val.skill]
            value = sum(skills) / len(skills) if skills else -1.0
            value = value if math.isfinite(value) else -1.0
            if name in self.best and value <= self.best[name][0]:
                continue
            self.best[name] = (value, epoch)
            # Buffers have no owner; they are recomputed for the selected weights, so any part's will do.
            kept = {key: one for key, one in state.items() if key not in owners or owners[key] & set(tasks)}
            save(kept, self._file(name))
        if self.keep:
            save({"structure": network.structure(), "network": state}, self.folder / f"epoch-{epoch:05}.pt")

    def load(self, network: Architecture, device: torch.device, title: str) -> None:
        """Put the best weights of every part in place.

        Raises:
            UserError: no epoch of the method's final structure was validated.
        """
        if not self.best:
            raise UserError(f"{title}: no epoch could be selected. Give the method more epochs.")
        state = network.state_dict()
        for part in self.best:
            state.update(torch.load(self._file(part), map_location=device, weights_only=True))
        network.load_state_dict(state)

    def prune(self) -> None:
        """Remove the weights that were the best once."""
        kept = {self._file(part).name for part in self.best}
        for file in self.folder.glob("best-*.pt"):
            if file.name not in kept:
                file.unlink()

    def clear(self) -> None:
        """Remove the best weights; the selected network is saved as a whole."""
        for file in self.folder.glob("best-*.pt"):
            file.unlink(missing_ok=True)

    def _file(self, part: str) -> Path:
        return self.folder / f"best-{derive_seed(part, self.best[part][1])}.pt"


def kept_epochs(folder: Path) -> dict[int, Path]:
    """Epoch → file of its structure and weights, in order: of a trial that was trained with `keep`."""
    return {int(path.stem.removeprefix("epoch-")): path for path in sorted(folder.glob("epoch-*.pt"))}


def save(value: Any, path: Path) -> None:
    """Save so that a reader finds the old file or the new one, never half of either.

    Raises:
        UserError: the disk is full or not writable.
    """
    temporary = path.with_suffix(f".{os.getpid()}.tmp")
    try:
        torch.save(value, temporary)
        os.replace(temporary, path)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        raise UserError(f"The checkpoint {path} could not be written: {error}. Free some space and run again.") from None
