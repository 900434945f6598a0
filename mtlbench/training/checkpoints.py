"""The files of one trial: its checkpoint, the weights that may be selected, and the selected network.

It knows paths and plain values (tensors, numbers, texts and containers of them), and nothing of training. Files are
replaced atomically, and loading never executes code (`weights_only=True`). The checkpoint before the last one is kept: it
takes its place when the last one cannot be read.
"""

from __future__ import annotations

import io
import os
import shutil
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch

from mtlbench.contract.run import derive_seed
from mtlbench.errors import UserError
from mtlbench.training.memory_faults import ran_out_of_memory

State = dict[str, Any]
"""Plain values beside tensors."""


class CheckpointStore:
    """Checkpoints of one trial.

    Args:
        folder: the trial's own; made when something is saved.

    Attributes:
        problem: what was wrong with the checkpoints that `load` passed over, in a line; empty where nothing was.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.newest, self.previous = folder / "checkpoint.pt", folder / "previous.pt"
        self.problem = ""

    # -- where training is ------------------------------------------------------------------------------------------

    def save(self, state: Mapping[str, Any]) -> None:
        """Add a checkpoint; the last one becomes the previous one, and the one before it goes.

        Raises:
            UserError: the disk is full or not writable.
        """
        temporary = _written(state, self.newest)
        # Killed between the two, the previous checkpoint is there, and is loaded.
        if self.newest.is_file():
            os.replace(self.newest, self.previous)
        os.replace(temporary, self.newest)

    def load(self, device: torch.device, usable: Callable[[State], bool] = lambda state: True) -> State | None:
        """The last checkpoint that can be read, or None where there is none: training begins anew.

        Those after it are removed, and `problem` names them.

        Args:
            usable: whether all that a checkpoint refers to is there.
        """
        lost = []
        for path in (self.newest, self.previous):
            if not path.is_file():
                continue
            try:
                state = load(path, device)
                if not usable(state):
                    raise RuntimeError("weights that it refers to are missing or damaged")
            except Exception as error:
                # torch finds no common words for a file that is no checkpoint; a disk that cannot be read is another matter.
                if isinstance(error, OSError) or ran_out_of_memory(error):
                    raise
                lost.append(f"{path.name}: {(str(error).splitlines() or [type(error).__name__])[0]}")
                path.unlink(missing_ok=True)
                continue
            if path == self.previous:
                os.replace(self.previous, self.newest)
            self.problem = _problem(self.folder, lost, "the previous checkpoint is used")
            return state
        self.problem = _problem(self.folder, lost, "training begins anew")
        return None

    def pack(self) -> bytes:
        """Where training is, with the weights that may be selected, to be taken elsewhere."""
        buffer = io.BytesIO()
        with zipfile.ZipFile(buffer, "w") as archive:
            for path in sorted([*self.folder.glob("checkpoint.pt"), *self.folder.glob("best-*.pt")]):
                archive.write(path, path.name)
        return buffer.getvalue()

    def unpack(self, packed: bytes) -> None:
        """Take up what `pack` gave, in place of what is here.

        Raises:
            UserError: the disk is full or not writable.
        """
        self.clear()
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            with zipfile.ZipFile(io.BytesIO(packed)) as archive:
                archive.extractall(self.folder)
        except OSError as error:
            raise UserError(f"The checkpoint {self.folder} could not be written: {error}. Free some space.") from None

    # -- weights of single epochs -----------------------------------------------------------------------------------

    def save_best(self, part: str, epoch: int, weights: Mapping[str, torch.Tensor]) -> None:
        """Keep the weights of a part of the network at the epoch that is its best so far."""
        save(dict(weights), self._best(part, epoch))

    def load_best(self, part: str, epoch: int, device: torch.device) -> State:
        """The weights that `save_best` kept."""
        return load(self._best(part, epoch), device)

    def has_best(self, best: Mapping[str, int]) -> bool:
        """Whether the weights are there and whole.

        Args:
            best: part → epoch of the weights.
        """
        return all(_is_whole(self._best(part, epoch)) for part, epoch in best.items())

    def keep_only(self, *best: Mapping[str, int]) -> None:
        """Remove the weights that were the best once.

        Args:
            best: part → epoch of the weights to keep.
        """
        kept = {self._best(part, epoch).name for each in best for part, epoch in each.items()}
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
        self.keep_only()
        self.newest.unlink(missing_ok=True)
        self.previous.unlink(missing_ok=True)

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
    os.replace(_written(value, path), path)


def _written(value: Mapping[str, Any], path: Path) -> Path:
    """The value in a temporary file beside its place, on the disk."""
    temporary = path.with_suffix(f".{os.getpid()}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        # Through a file of Python's: torch's own writer hides what the system said.
        with temporary.open("wb") as file:
            torch.save(dict(value), file)
            file.flush()
            os.fsync(file.fileno())
    except (OSError, RuntimeError) as error:
        temporary.unlink(missing_ok=True)
        if ran_out_of_memory(error):
            raise
        reason = _said_by_system(error)
        raise UserError(
            f"The checkpoint {path} could not be written ({reason}): free some space, or name another folder with --runs, "
            "and run again."
        ) from None
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    return temporary


def _said_by_system(error: BaseException) -> str:
    """The system's words on a write that failed; torch raises errors of its own over them."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, OSError) and cause.strerror:
            return cause.strerror
        cause = cause.__cause__ or cause.__context__
    return (str(error).splitlines() or [type(error).__name__])[0]


def _problem(folder: Path, lost: list[str], consequence: str) -> str:
    return f"a checkpoint in {folder} could not be read ({'; '.join(lost)}), {consequence}" if lost else ""


def _is_whole(path: Path) -> bool:
    """Whether a file that `save` wrote has all its bytes."""
    try:
        with zipfile.ZipFile(path) as archive:
            return archive.testzip() is None
    except (OSError, zipfile.BadZipFile):
        return False


def load(path: Path, device: torch.device | str) -> State:
    """Load what `save` wrote."""
    state: State = torch.load(path, map_location=device, weights_only=True)
    return state
