"""What a strategy is: how the task losses of one batch move the weights."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from mtlbench.contract.accumulation import accumulated
from mtlbench.contract.batch import Batch
from mtlbench.contract.hyper import Configurable
from mtlbench.contract.network import MultiTaskNetwork
from mtlbench.contract.optim import ParamGroup
from mtlbench.contract.run import Run, TaskLosses, detached, total


class Strategy(Configurable, nn.Module):
    """Base of all strategies. Override `step`, and `setup` or `start` where the strategy has state of its own.

    A strategy asks the network for losses and for who owns which parameter; it never looks at parameter names.

    Attributes:
        needs_sharing: True when the strategy means nothing on a network whose tasks share no parameter.
        invariances: what the strategy promises, and conformance tests check, of: "one_task" (a single task trains as
            plain training does), "task_order" (permuting the tasks changes nothing), "loss_scale" (scaling one task's
            loss changes nothing, with an optimizer that does not care about the gradient's scale).
        passes: what one step costs, in words: "1 forward, 1 backward", "1 forward, T backward through the trunk".
        network, run: the architecture it trains and the running trial.
        tasks: the tasks' names.
        optimizers: the optimizers in use, by name, after `start`.
    """

    needs_sharing: ClassVar[bool] = False
    invariances: ClassVar[frozenset[str]] = frozenset({"one_task", "task_order"})
    passes: ClassVar[str] = "1 forward, 1 backward"
    network: MultiTaskNetwork
    run: Run

    def __init__(self, network: MultiTaskNetwork, run: Run, hypers: Mapping[str, Any]) -> None:
        super().__init__()
        # Not a submodule: the network's weights are saved with the network.
        object.__setattr__(self, "network", network)
        self.run = run
        self.tasks = tuple(network.tasks)
        self.optimizers: dict[str, Optimizer] = {}
        self._parts_known_for: dict[str, Optimizer] | None = None
        self._part_of: dict[int, int] = {}
        self._streams: dict[tuple[object, ...], tuple[int, torch.Generator]] = {}
        self.set_hypers(hypers)
        self.setup()

    def setup(self) -> None:
        """Create learned weights (`learn`) and other state (`register_buffer`); called once."""

    def reset(self) -> None:
        """Forget what was learned: the network begins again from fresh weights. `start` follows."""
        self.setup()

    def start(self) -> None:
        """Create the optimizers over the network as it now is; called at the start of a phase and after a resume."""
        self.optimizers = {"weights": self.run.optimizer.build(self.groups(self.network.parameters()))}

    def step(self, batch: Batch) -> TaskLosses:
        """Move the weights once (or more, see `updates_per_step`). Returns the losses, detached or not."""
        losses = self.losses(batch)
        self.descend(losses)
        return losses

    def updates_per_step(self) -> int:
        """Optimizer steps in one call of `step`."""
        return 1

    def end_epoch(self, losses: Mapping[str, float]) -> None:
        """Called after every epoch with its mean training losses."""

    def artefacts(self) -> dict[str, Any]:
        """What the strategy decided and a record should keep (JSON): task groups, for example."""
        return {}

    def stream(self, *name: object) -> torch.Generator:
        """`run.generator`, asked for once per epoch: a CPU random stream to draw from step after step.

        Name it after the task it serves, and the draws do not depend on the order of the tasks.
        """
        epoch, generator = self._streams.get(name, (-1, None))
        if generator is None or epoch != self.run.epoch:
            generator = self.run.generator(*name)
            self._streams[name] = (self.run.epoch, generator)
        return generator

    def learn(self, value: Tensor) -> nn.Parameter:
        """A weight of the strategy's own, trained with the network's and not decayed."""
        return nn.Parameter(value.to(self.run.device))

    def groups(self, parameters: Iterable[nn.Parameter]) -> list[ParamGroup]:
        """Parameter groups for an optimizer: the given parameters, and the strategy's own learned ones undecayed."""
        groups: list[ParamGroup] = [{"params": [parameter for parameter in parameters if parameter.requires_grad]}]
        if own := list(self.parameters()):
            groups.append({"params": own, "weight_decay": 0.0})
        return groups

    def losses(self, batch: Batch, tasks: Sequence[str] | None = None) -> TaskLosses:
        """The losses of the batch's labelled tasks (among `tasks`, when given), forward in the trial's precision.

        Where the protocol asks for it the batch passes through the network in pieces (`accumulated`).
        """
        if self.run.micro_batches == 1:
            with self.run.autocast():
                return self.network.losses(batch, tasks)

        def forward(piece: Batch) -> TaskLosses:
            with self.run.autocast():
                return self.network.losses(piece, tasks)

        return accumulated(forward, batch, self.run.micro_batches, self.network)

    def descend(self, loss: Tensor | Mapping[str, Tensor], optimizer: str = "weights") -> None:
        """Back-propagate a scalar, or the sum of the tasks' terms, and step. Without any term nothing moves."""
        if isinstance(loss, Mapping):
            if not loss:
                return
            loss = total(dict(loss))
        self.optimizers[optimizer].zero_grad(set_to_none=True)
        loss.backward()
        self.advance(optimizer)

    def advance(self, optimizer: str = "weights") -> None:
        """Step with the gradients that are in place, clipped as the protocol says.

        The bound holds for each independent part of the network (`MultiTaskNetwork.parts`), as it would if each were
        trained alone: one task's exploding gradient leaves the other networks alone. The strategy's own weights are not
        clipped, and not counted.
        """
        stepped = self.optimizers[optimizer]
        if self.run.optimizer.clip > 0:
            for weights in self._clipped_together(stepped):
                nn.utils.clip_grad_norm_(weights, self.run.optimizer.clip)
        stepped.step()

    def _clipped_together(self, optimizer: Optimizer) -> list[list[nn.Parameter]]:
        """An optimizer's weights by the independent part of the network that they belong to."""
        # `start` makes a new dictionary of optimizers whenever the network's structure may have changed.
        if self._parts_known_for is not self.optimizers:
            self._parts_known_for = self.optimizers
            self._part_of = self.network.part_of_parameters()
        together: dict[int, list[nn.Parameter]] = {}
        for group in optimizer.param_groups:
            for weight in group["params"]:
                if (part := self._part_of.get(id(weight))) is not None:
                    together.setdefault(part, []).append(weight)
        return list(together.values())


__all__ = ["Strategy", "TaskLosses", "detached", "total"]
