"""The files of one trial: its checkpoint, the weights that may be selected, and the selected network.

It knows paths and plain values (tensors, numbers, texts and containers of them), and nothing of training. Files are
replaced atomically, and loading never executes code (`weights_only=True`).
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from mtlbench.contract.run import derive_seed
from mtlbench.errors import UserError

State = dict[str, Any]
"""Plain values beside tensors."""


class CheckpointStore:
    """Checkpoints of one trial.

    Args:
        folder: the trial's own; made when something is saved.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    # -- where training is ------------------------------------------------------------------------------------------

    def save(self, state: Mapping[str, Any]) -> None:
        """Replace the checkpoint.

        Raises:
            UserError: the disk is full or not writable.
        """
        save(state, self.folder / "checkpoint.pt")

    def load(self, device: torch.device) -> State | None:
        """The last checkpoint, or None where training has not saved any."""
        path = self.folder / "checkpoint.pt"
        return load(path, device) if path.is_file() else None

    # -- weights of single epochs -----------------------------------------------------------------------------------

    def save_best(self, part: str, epoch: int, weights: Mapping[str, torch.Tensor]) -> None:
        """Keep the weights of a part of the network at the epoch that is its best so far."""
        save(dict(weights), self._best(part, epoch))

    def load_best(self, part: str, epoch: int, device: torch.device) -> State:
        """The weights that `save_best` kept."""
        return load(self._best(part, epoch), device)

    def keep_only(self, best: Mapping[str, int]) -> None:
        """Remove the weights that were the best once.

        Args:
            best: part → epoch of the weights to keep.
        """
        kept = {self._best(part, epoch).name for part, epoch in best.items()}
        for file in self.folder.glob("best-*.pt"):
            if file.name not in kept:
                file.unlink(missing_ok=True)

    def save_epoch(self, epoch: int, state: Mapping[str, Any]) -> None:
        """Keep the structure and weights of an epoch for good."""
        save(state, self.folder / f"epoch-{epoch:05}.pt")

    def kept_epochs(self) -> dict[int, Path]:
        """Epoch → file of its structure and weights, in order."""
        return {int(path.stem.removeprefix("epoch-")): path for path in sorted(self.folder.glob("epoch-*.pt"))}

    # -- the end ----------------------------------------------------------------------------------------------------

    def save_selected(self, state: Mapping[str, Any]) -> None:
        """Keep the structure and weights of the selected network for good."""
        save(state, self.folder / "selected.pt")

    def clear(self) -> None:
        """Remove what only training needed; the selected network and kept epochs stay."""
        self.keep_only({})
        (self.folder / "checkpoint.pt").unlink(missing_ok=True)

    def remove(self) -> None:
        """Remove everything."""
        shutil.rmtree(self.folder, ignore_errors=True)

    def _best(self, part: str, epoch: int) -> Path:
        return self.folder / f"best-{derive_seed(part, epoch)}.pt"


def save(value: Mapping[str, Any], path: Path) -> None:
    """Save so that a reader finds the old file or the new one, never half of either.

    Raises:
        UserError: the disk is full or not writable.
    """
    temporary = path.with_suffix(f".{os.getpid()}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        torch.save(dict(value), temporary)
        os.replace(temporary, path)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        raise UserError(f"The checkpoint {path} could not be written: {error}. Free some space and run again.") from None


def load(path: Path, device: torch.device | str) -> State:
    """Load what `save` wrote."""
    state: State = torch.load(path, map_location=device, weights_only=True)
    return state
