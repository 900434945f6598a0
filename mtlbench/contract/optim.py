"""Optimizer and learning-rate schedule: part of the protocol, equal for all methods unless a method declares its own."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal

import torch
from torch import nn

ParamGroup = dict[str, Any]
"""`{"params": [...], ...}` with any optimizer option to override, as torch.optim takes it."""


@dataclass(frozen=True)
class OptimizerSpec:
    """Optimizer, learning rate and schedule.

    Attributes:
        name: "adam", "adamw" or "sgd".
        lr: the highest learning rate.
        weight_decay: L2 for adam and sgd, decoupled for adamw.
        momentum: of sgd; beta1 for the others.
        schedule: factor on `lr` over training progress p in [0, 1): "constant"; "poly" (1 − p)^0.9; "cosine"
            ½(1 + cos πp); "step": × 0.1 from p = 0.75 and again from 0.875; "halved": × 0.5 from p = 0.5 (MTAN,
            Nash-MTL, FAMO). Set before every update. Two published ones take p for that of 100 epochs, so that other
            budgets see them stretched: "epoch_0.95" is × 0.95 after each (Kurin et al., 2022), "10_epochs_0.85" × 0.85 at
            the 10th, 20th, … (Sener and Koltun, 2018).
        clip: bound on the gradient's L2 norm in one optimizer step, for each independent part of the network; 0 for none.
    """

    name: Literal["adam", "adamw", "sgd"] = "adam"
    lr: float = 1e-3
    weight_decay: float = 0.0
    momentum: float = 0.9
    schedule: Literal["constant", "poly", "cosine", "step", "halved", "epoch_0.95", "10_epochs_0.85"] = "poly"
    clip: float = 0.0

    def build(self, groups: Iterable[ParamGroup]) -> torch.optim.Optimizer:
        """A new optimizer over parameter groups; every group remembers its highest learning rate in `peak_lr`."""
        groups = [{"lr": self.lr, **group} for group in groups]
        for group in groups:
            group["peak_lr"] = group["lr"]
        if self.name == "sgd":
            return torch.optim.SGD(groups, lr=self.lr, momentum=self.momentum, weight_decay=self.weight_decay)
        kind = torch.optim.Adam if self.name == "adam" else torch.optim.AdamW
        return kind(groups, lr=self.lr, betas=(self.momentum, 0.999), weight_decay=self.weight_decay)

    def factor(self, progress: float) -> float:
        """The schedule's factor at a progress in [0, 1]."""
        if self.schedule == "poly":
            return max(1.0 - progress, 0.0) ** 0.9
        if self.schedule == "cosine":
            return 0.5 * (1.0 + math.cos(math.pi * min(progress, 1.0)))
        if self.schedule == "step":
            return 0.1 ** ((progress >= 0.75) + (progress >= 0.875))
        if self.schedule == "halved":
            return 0.5 if progress >= 0.5 else 1.0
        epoch = math.floor(min(progress, 1.0) * 100 + 1e-9)  # of 100, counted from 0
        if self.schedule == "epoch_0.95":
            return 0.95**epoch
        if self.schedule == "10_epochs_0.85":
            return 0.85 ** ((epoch + 1) // 10)
        return 1.0

    def describe(self) -> dict[str, Any]:
        return asdict(self)


def set_lr(optimizers: Iterable[torch.optim.Optimizer], factor: float) -> None:
    """Scale every group's learning rate from its peak. A group with `fixed_lr` keeps its own."""
    for optimizer in optimizers:
        for group in optimizer.param_groups:
            if not group.get("fixed_lr", False):
                group["lr"] = group["peak_lr"] * factor


def state_by_name(optimizer: torch.optim.Optimizer, network: nn.Module) -> dict[str, dict[str, Any]]:
    """Optimizer state by parameter name, so that it can follow parameters through a change of structure."""
    names = {id(parameter): name for name, parameter in network.named_parameters()}
    return {names[id(parameter)]: state for parameter, state in optimizer.state.items() if id(parameter) in names}


def restore_by_name(optimizer: torch.optim.Optimizer, network: nn.Module, states: Mapping[str, dict[str, Any]]) -> None:
    """Give the optimizer's parameters the states that were saved under their names; others start afresh."""
    known = {id(parameter) for group in optimizer.param_groups for parameter in group["params"]}
    for name, parameter in network.named_parameters():
        if name in states and id(parameter) in known:
            optimizer.state[parameter] = dict(states[name])
