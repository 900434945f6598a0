"""The base of strategies that combine the tasks' gradients, rather than their losses."""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor, nn

from mtlbench.contract.batch import Batch
from mtlbench.contract.hyper import Hyper
from mtlbench.contract.run import TaskLosses
from mtlbench.contract.shared_features import SharedFeatures, require_one_encoder
from mtlbench.contract.strategy import Strategy
from mtlbench.errors import UserError


class JacobianStrategy(Strategy):
    """Takes each task's gradient for the shared weights and lets `weights` (or `combine`) make one of them.

    The parameters a task owns alone get its own gradient, unweighted. Every head is back-propagated once and the trunk
    once per task: T trunk passes, the least that T separate gradients cost.

    Rows are ordered by the tasks' names, so that neither ties nor random draws depend on the order of a dataset's tasks.
    A task that is not in the batch has no row; one that owns only a part of the shared weights has zeros elsewhere.

    With `gradients="features"` the rows are gradients for the feature maps that all heads read, and what is made of them is
    back-propagated through the trunk once (`shared_features.py`). That is another method, cheaper and not equivalent: a
    weighted row sum is the same combination of losses, but the weights come from other inner products.

    Attributes:
        feature_gradients: whether the method means something on gradients of features: its authors or LibMTL define it so.
            False where its guarantee is about what a step of the weights does to the losses, or where it compares gradients
            of different images, whose features have nothing in common.
    """

    needs_sharing: ClassVar[bool] = True
    passes: ClassVar[str] = "1 forward, T backward through the trunk"
    feature_gradients: ClassVar[bool] = False

    gradients: Literal["parameters", "features"] = Hyper(
        "parameters", help='what is combined: gradients of the shared "parameters", or of the "features" that all heads read'
    )

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        # There is nothing to choose for a method that is defined on gradients of parameters alone.
        others = {name: info for name, info in cls.hypers.items() if name != "gradients"}
        cls.hypers = {"gradients": JacobianStrategy.hypers["gradients"], **others} if cls.feature_gradients else others

    @classmethod
    def configure(cls, given: Mapping[str, Any], owner: str) -> dict[str, Any]:
        if given.get("gradients") == "features" and not cls.feature_gradients:
            raise UserError(
                f'{owner}: gradients = "features" is refused: {cls.__name__} is defined on gradients of parameters. '
                "Leave the option out."
            )
        return super().configure(given, owner)

    def start(self) -> None:
        super().start()
        self.shared = [weight for weight in self.network.shared_parameters()]
        self.own = {task: self.network.own_parameters(task) for task in self.tasks}
        if self.uses_features:
            require_one_encoder(self.network, type(self).__name__, self.run.micro_batches)

    @property
    def uses_features(self) -> bool:
        """Whether rows are gradients of features. (Where nothing is shared, as with a single task, there are no rows.)"""
        return self.gradients == "features" and bool(self.shared)

    def objectives(self, losses: TaskLosses) -> TaskLosses:
        """What the rows, and the gradients of what a task owns alone, are gradients of. Default: the losses."""
        return losses

    def weights(self, gramian: Tensor, losses: TaskLosses) -> Tensor:
        """The weight of each row.

        Args:
            gramian: float64 [T, T] on the CPU: inner products of the rows, every one of which is non-zero.
            losses: the rows' tasks, in order, and their values.

        Returns:
            float64 [T].
        """
        raise NotImplementedError

    def combine(self, rows: Tensor, losses: TaskLosses) -> Tensor:
        """The gradient [P] of the shared weights from the tasks' gradients [T, P]. Default: weights by inner products."""
        gramian = (rows @ rows.T).detach().double().cpu()
        alive = gramian.diagonal() > 0
        weights = torch.ones(len(losses), dtype=torch.float64)
        # Without finite gradients there is nothing to weigh: let them through, as plain training would.
        if bool(gramian.isfinite().all()):
            rows_alive = zip(losses.items(), alive.tolist(), strict=True)
            kept = {task: loss.detach() for (task, loss), is_alive in rows_alive if is_alive}
            if kept:
                weights[alive] = self._checked(self.weights(gramian[alive][:, alive], kept), len(kept))
        return weights.to(rows) @ rows

    def _checked(self, weights: object, count: int) -> Tensor:
        """What `weights` returned, refused by name where it does not weigh the rows."""
        if not isinstance(weights, Tensor) or weights.shape != (count,):
            got = list(weights.shape) if isinstance(weights, Tensor) else type(weights).__name__
            source = inspect.getsourcefile(type(self))
            raise UserError(
                f"{type(self).__name__}.weights ({source}) returned {got}, expected a tensor of shape [{count}]."
            )
        return weights

    def step(self, batch: Batch) -> TaskLosses:
        if self.uses_features:
            return self._step_on_features(batch)
        losses = self.losses(batch)
        if losses:
            self.optimizers["weights"].zero_grad(set_to_none=True)
            ordered = dict(sorted(losses.items()))
            rows, reached = self.task_gradients(self.objectives(ordered))
            self.descend_along(self.combine(rows, ordered) if reached else None, reached)
        return losses

    def _step_on_features(self, batch: Batch) -> TaskLosses:
        with SharedFeatures(self.network, type(self).__name__) as features:
            losses = self.losses(batch)
        if losses:
            self.optimizers["weights"].zero_grad(set_to_none=True)
            ordered = dict(sorted(losses.items()))
            rows = []
            for task, objective in self.objectives(ordered).items():
                inputs = [*features.copies, *self.own[task]]
                gradients = torch.autograd.grad(objective, inputs, allow_unused=True)
                rows.append(gradients[: len(features.copies)])
                for weight, gradient in zip(self.own[task], gradients[len(features.copies) :], strict=True):
                    weight.grad = gradient
            features.back_propagate(self.combine(features.flat(rows), ordered), self.shared)
            self.advance()
        return losses

    def descend_along(self, gradient: Tensor | None, reached: set[int]) -> None:
        """Step, with a gradient [P] for the shared weights; those that are not in `reached` stay."""
        if gradient is not None:
            write_gradients(gradient, self.shared, reached)
        self.advance()

    def task_gradients(self, losses: TaskLosses) -> tuple[Tensor, set[int]]:
        """The tasks' gradients for the shared weights; those of the parameters they own alone go to `.grad`.

        Returns:
            rows [T, P], in the losses' order; and which of the shared parameters any of these tasks reaches. The others
            must not be stepped: plain training leaves them alone too.
        """
        size = sum(weight.numel() for weight in self.shared)
        reference = next(iter(losses.values()))
        rows = torch.empty(len(losses), size, dtype=self.shared[0].dtype if self.shared else None, device=reference.device)
        reached: set[int] = set()
        for number, (task, loss) in enumerate(losses.items()):
            own = self.own[task]
            inputs = [*self.shared, *own]
            gradients = torch.autograd.grad(loss, inputs, retain_graph=number + 1 < len(losses), allow_unused=True)
            shared = gradients[: len(self.shared)]
            reached.update(at for at, gradient in enumerate(shared) if gradient is not None)
            if shared:
                parts = [torch.zeros_like(w) if g is None else g for w, g in zip(self.shared, shared, strict=True)]
                torch.cat([flat(part, weight) for part, weight in zip(parts, self.shared, strict=True)], out=rows[number])
            for weight, gradient in zip(own, gradients[len(shared) :], strict=True):
                weight.grad = gradient
        return rows, reached


def flat(tensor: Tensor, like: Tensor) -> Tensor:
    """The tensor's elements in the order in which `like` has them in memory: [numel], without a copy where it can be."""
    if not _dense(like):
        return tensor.reshape(-1)
    if tensor.stride() != like.stride():
        tensor = torch.empty_like(like, dtype=tensor.dtype).copy_(tensor)
    return tensor.as_strided((tensor.numel(),), (1,))


def write_gradients(vector: Tensor, parameters: Sequence[nn.Parameter], which: set[int]) -> None:
    """Set `.grad` of the chosen parameters to their parts of `vector` (views of it), which `flat` has put in order."""
    start = 0
    for at, weight in enumerate(parameters):
        if at in which:
            part = vector[start : start + weight.numel()]
            if _dense(weight):
                weight.grad = part.as_strided(weight.shape, weight.stride())
            else:
                weight.grad = part.view(weight.shape)
        start += weight.numel()


def _dense(tensor: Tensor) -> bool:
    return tensor.is_contiguous() or tensor.is_contiguous(memory_format=torch.channels_last)
