"""What training tells whoever watches it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class EpochReport:
    """What happened in an epoch, for whoever watches the training.

    Attributes:
        epoch, epochs: how many are over, and how many are planned, over all phases.
        phase: its name.
        train_loss: task → mean loss.
        val_skill: mean skill on val; None where the epoch was not validated.
        seconds: spent on training so far.
    """

    epoch: int
    epochs: int
    phase: str
    train_loss: dict[str, float]
    val_skill: float | None
    seconds: float
