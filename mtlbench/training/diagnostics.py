"""What a strategy does to the shared weights: how the tasks' gradients lie to each other, and how far the weights travel.

    watch = Diagnostics(network)
    watch.begin("train", strategy.optimizers.values())   # whenever a phase has made its optimizers
    watch.before_step(batch, strategy.optimizers.values())   # before every step; measures on every `every`-th
    watch.end_epoch()
    record.artefacts["diagnostics"] = watch.summary()

Nothing of it changes the training: the extra passes leave gradients, BatchNorm's running statistics and random streams as
they were.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager, nullcontext
from itertools import combinations
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.optim import Optimizer

from mtlbench.contract import Batch, MultiTaskNetwork


class Diagnostics:
    """Gradient cosines between tasks over training; path length and net displacement of the shared weights.

    *Cosine* of two tasks: between their losses' gradients for all shared parameters; a task's is zero for those it does not
    own. *Path length*: Σ over optimizer steps of ‖θ_i − θ_{i−1}‖₂, inner steps of a strategy
    that makes several counted one by one; *displacement*: ‖θ_end − θ_0‖₂. θ are the shared parameters except those of
    BatchNorm (Pascal et al., arXiv:2109.11678, measure them so).

    Args:
        network: the architecture in training.
        every: measure the gradients on every so many steps; each costs a forward pass and a backward pass per task.
        autocast: a context for the forward pass in the trial's precision.
    """

    def __init__(
        self,
        network: MultiTaskNetwork,
        every: int = 10,
        autocast: Callable[[], AbstractContextManager[object]] = nullcontext,
    ) -> None:
        self.network, self.every, self.autocast = network, every, autocast
        self.tasks = tuple(network.tasks)
        self.pairs = tuple(combinations(self.tasks, 2))
        self.steps = 0
        self.epochs: list[dict[str, Any]] = []
        self.phases: list[dict[str, Any]] = []
        self._sums = self._no_sums()
        self._weights: list[nn.Parameter] = []
        self._first = self._last = torch.zeros(0)
        self._handles: list[Any] = []
        self._optimizers: list[Optimizer] = []

    # -- what the training calls ------------------------------------------------------------------------------------

    def begin(self, phase: str, optimizers: Iterable[Optimizer]) -> None:
        """A phase begins, with optimizers of its own and perhaps another structure: distances count anew from here.

        Args:
            optimizers: the strategy's; shared weights that none of them moves do not travel.
        """
        for handle in self._handles:
            handle.remove()
        self._optimizers = list(optimizers)
        self._weights = _travelling(self.network, self._optimizers)
        self._first = self._last = self._position()
        self._handles = [optimizer.register_step_post_hook(self._stepped) for optimizer in self._optimizers]
        self.phases.append({"phase": phase, "updates": 0, "path_length": 0.0, "displacement": 0.0})

    def before_step(self, batch: Batch, optimizers: Iterable[Optimizer]) -> None:
        """Measure the gradients at the weights as they are, if it is time to.

        Where the optimizers are others than before, the structure has changed within the phase: distances count anew, in an
        entry of their own. The step that changed it is part of neither.
        """
        now = list(optimizers)
        if list(map(id, now)) != list(map(id, self._optimizers)):
            self.begin(self.phases[-1]["phase"], now)
        if self.steps % self.every == 0:
            self._measure(batch)
        self.steps += 1

    def end_epoch(self) -> None:
        """Close the epoch's means."""
        cosines = {_name(pair): _mean(*self._sums["cosine"][pair]) for pair in self.pairs}
        norms = {task: _mean(*self._sums["norm"][task]) for task in self.tasks}
        conflicts = {_name(pair): _mean(self._sums["conflict"][pair], self._sums["cosine"][pair][1]) for pair in self.pairs}
        self.epochs.append({"cosine": cosines, "conflict": conflicts, "gradient_norm": norms})
        self._sums = self._no_sums()

    def summary(self) -> dict[str, Any]:
        """All of it as JSON.

        Returns:
            "epochs": one entry per epoch with `cosine` ("task|task" → mean over the measured steps), `conflict` (the
            fraction of them with a negative cosine) and `gradient_norm` (task → mean); None where nothing was measured.
            "phases": one entry per phase (and structure) with `updates`, `path_length`, `displacement` and `ratio`, the
            path length over the displacement.
        """
        phases = [
            {**phase, "ratio": phase["path_length"] / phase["displacement"] if phase["displacement"] > 0 else None}
            for phase in self.phases
        ]
        return {"every": self.every, "epochs": self.epochs, "phases": phases}

    def state(self) -> dict[str, Any]:
        """What a resumed trial needs (at the end of an epoch)."""
        return {"steps": self.steps, "epochs": self.epochs, "phases": self.phases, "first": self._first}

    def restore(self, state: dict[str, Any]) -> None:
        """Take up a saved `state`, after `begin` of the phase it was saved in, with its weights in place."""
        begun = self.phases[-1:]
        self.steps, self.epochs, self.phases = state["steps"], state["epochs"], state["phases"]
        if begun and len(state["first"]) != len(self._first):
            # The structure changed in the last step that was saved: what `before_step` would have found next.
            self.phases = [*self.phases, *begun]
        else:
            self._first = state["first"].to(self._first)

    # -- how --------------------------------------------------------------------------------------------------------

    def _no_sums(self) -> dict[str, Any]:
        return {
            "cosine": dict.fromkeys(self.pairs, (0.0, 0)),
            "conflict": dict.fromkeys(self.pairs, 0),
            "norm": dict.fromkeys(self.tasks, (0.0, 0)),
        }

    def _measure(self, batch: Batch) -> None:
        shared = self.network.shared_parameters()
        if not shared:
            return
        gradients = self._gradients(batch, shared)
        norms = {task: float(gradient.norm()) for task, gradient in gradients.items()}
        for task, norm in norms.items():
            total, count = self._sums["norm"][task]
            self._sums["norm"][task] = (total + norm, count + 1)
        for first, second in self.pairs:
            if norms.get(first, 0.0) > 0 and norms.get(second, 0.0) > 0:
                cosine = float(gradients[first] @ gradients[second]) / norms[first] / norms[second]
                total, count = self._sums["cosine"][first, second]
                self._sums["cosine"][first, second] = (total + cosine, count + 1)
                self._sums["conflict"][first, second] += cosine < 0

    def _gradients(self, batch: Batch, shared: list[nn.Parameter]) -> dict[str, Tensor]:
        """Task → its gradient for the shared parameters, flat; the network and torch's random streams stay as they are."""
        buffers = [(buffer, buffer.clone()) for buffer in self.network.buffers()]
        device = batch.image.device
        with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
            with self.autocast():
                losses = self.network.losses(batch)
            gradients = {}
            for number, (task, loss) in enumerate(losses.items()):
                keep = number + 1 < len(losses)
                parts = torch.autograd.grad(loss, shared, retain_graph=keep, allow_unused=True, materialize_grads=True)
                gradients[task] = torch.cat([part.flatten() for part in parts])
        with torch.no_grad():
            for buffer, before in buffers:
                buffer.copy_(before)
        return gradients

    def _position(self) -> Tensor:
        # Copies: parameters are changed in place.
        flat = [weight.detach().flatten() for weight in self._weights]
        return torch.cat(flat).clone() if flat else torch.zeros(0)

    def _stepped(self, *_: Any) -> None:
        """After an optimizer's step: add what the weights have moved. Optimizers of other weights add nothing."""
        now = self._position()
        moved = float((now - self._last).norm())
        phase = self.phases[-1]
        phase["updates"] += moved > 0
        phase["path_length"] += moved
        phase["displacement"] = float((now - self._first).norm())
        self._last = now


def _travelling(network: MultiTaskNetwork, optimizers: Iterable[Optimizer]) -> list[nn.Parameter]:
    """The shared parameters that are moved, without BatchNorm's."""
    moved = {id(weight) for optimizer in optimizers for group in optimizer.param_groups for weight in group["params"]}
    normalising = {
        id(weight) for module in network.modules() if isinstance(module, _BatchNorm) for weight in module.parameters()
    }
    return [weight for weight in network.shared_parameters() if id(weight) in moved and id(weight) not in normalising]


def _mean(total: float, count: int) -> float | None:
    return total / count if count and math.isfinite(total) else None


def _name(pair: tuple[str, str]) -> str:
    return "|".join(pair)
