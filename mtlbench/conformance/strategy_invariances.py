"""Invariances of strategies: those that are promised hold."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn

from mtlbench.conformance.examples import SharedTrunk, SignDescentSpec, build_example, dense_tasks, make_run
from mtlbench.conformance.strategy_subject import PLAIN_SGD, TOLERANCE, StrategySubject, batches, relative_difference, train
from mtlbench.conformance.suite import Failed, NotApplicable
from mtlbench.contract import Architecture, JacobianStrategy, Strategy
from mtlbench.tasks import Task

INVARIANCES = ("one_task", "task_order", "loss_scale")


def one_task(subject: StrategySubject) -> None:
    """`one_task`, where declared: a single task is trained as plain training does."""
    require_declared(subject, "one_task")
    for task in dense_tasks():
        ours, plain = build_example(SharedTrunk, [task]), build_example(SharedTrunk, [task])
        train(subject.start(ours, make_run(PLAIN_SGD)), batches(2, [task]), epochs=2)
        strategy = Strategy(plain, make_run(PLAIN_SGD), {})
        strategy.start()
        train(strategy, batches(2, [task]), epochs=2)
        if (differing := relative_difference(plain, ours, [task])) > TOLERANCE:
            raise Failed(
                f"{task.name} alone ends {differing:.1%} of the way off plain training: mend the step, or leave "
                "'one_task' out of `invariances`"
            )


def task_order(subject: StrategySubject) -> None:
    """`task_order`, where declared: the order of the tasks changes nothing."""
    tasks = dense_tasks()
    differing = relative_difference(ordered_end(subject, tasks), ordered_end(subject, tasks[::-1]), tasks)
    holds = differing <= TOLERANCE
    require_declared(subject, "task_order", "it holds here, and may be declared" if holds else "it does not hold")
    if not holds:
        raise Failed(
            f"with the tasks in reverse order the weights end {differing:.1%} of the way off: draw and decide by the task's "
            "name, or leave 'task_order' out of `invariances`"
        )


def loss_scale(subject: StrategySubject) -> None:
    """`loss_scale`, where declared: a scaled loss changes nothing for an optimizer that ignores a gradient's length."""
    require_declared(subject, "loss_scale")
    ends = []
    for factor in (1.0, 4.0):
        tasks = dense_tasks()
        scale_loss(tasks[1], factor)
        network = build_example(SharedTrunk, tasks)
        train(subject.start(network, make_run(SignDescentSpec(lr=1e-3))), batches(2))
        ends.append(network)
    # Rounding decides the sign of a gradient that is zero but for it.
    if (agreement := agreeing(*ends)) < 0.99:
        raise Failed(
            f"with one loss scaled by 4, {1 - agreement:.0%} of the weights step the other way: mend the step, or leave "
            "'loss_scale' out of `invariances`"
        )


def invariances(subject: StrategySubject) -> None:
    """`invariances` holds known words, and a strategy of gradients says that it needs shared weights."""
    if unknown := subject.cls.invariances - set(INVARIANCES):
        raise Failed(f"`invariances` holds {', '.join(map(repr, sorted(unknown)))}: known are {', '.join(INVARIANCES)}")
    if issubclass(subject.cls, JacobianStrategy) and not subject.cls.needs_sharing:
        raise Failed("a JacobianStrategy combines gradients of shared weights: `needs_sharing` must stay True")


def ordered_end(subject: StrategySubject, tasks: Sequence[Task]) -> Architecture:
    """A network after one epoch with its tasks in the given order."""
    network = build_example(SharedTrunk, tasks)
    train(subject.start(network, make_run(PLAIN_SGD)), batches(2, tasks))
    return network


def agreeing(network: nn.Module, other: nn.Module) -> float:
    """The fraction of single weights that are equal."""
    weights = dict(other.named_parameters())
    equal = [((weight - weights[name]).abs() < 1e-6).flatten() for name, weight in network.named_parameters()]
    return float(torch.cat(equal).float().mean())


def scale_loss(task: Task, factor: float) -> None:
    """Multiply the loss of this one task object."""
    loss = task.loss
    setattr(task, "loss", lambda prediction, target: factor * loss(prediction, target))  # noqa: B010


def require_declared(subject: StrategySubject, invariance: str, observed: str = "") -> None:
    """Raises unless the strategy promises the invariance."""
    if invariance not in subject.cls.invariances:
        raise NotApplicable(f"not promised{f'; {observed}' if observed else ''}")
