"""What every strategy must do, tried on small networks whose tasks share all, some or none of their weights."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from mtlbench.conformance.architectures import check_finite, named
from mtlbench.conformance.examples import (
    PartlySharedTrunk,
    SeparateTrunks,
    SharedTrunk,
    SignDescentSpec,
    build_example,
    dense_tasks,
    make_batch,
    make_run,
    snapshot,
)
from mtlbench.conformance.json_values import require_json
from mtlbench.conformance.suite import Failed, NotApplicable, Suite, seed_everything
from mtlbench.contract import Architecture, Batch, JacobianStrategy, OptimizerSpec, Run, Strategy, TaskLosses
from mtlbench.tasks import Task
from mtlbench.training.updates import UpdateCounter

INVARIANCES = ("one_task", "task_order", "loss_scale")

PLAIN_SGD = OptimizerSpec("sgd", lr=1e-3, momentum=0.0)

TOLERANCE = 1e-3
"""Of the way that training moved the weights: ten times what rounding leaves."""


@dataclass(frozen=True)
class StrategySubject:
    """A strategy to be checked, with its hyper-parameters at their defaults."""

    name: str
    cls: type[Strategy]

    def create(self, network: Architecture, run: Run | None = None) -> Strategy:
        """The strategy before `start`."""
        return self.cls(network, run or make_run(), self.cls.configure({}, self.name))

    def start(self, network: Architecture, run: Run | None = None) -> Strategy:
        """The strategy after `start`."""
        strategy = self.create(network, run)
        strategy.start()
        return strategy

    def networks(self) -> list[Architecture]:
        """Networks that the strategy means something on."""
        kinds: list[type[Architecture]] = [SharedTrunk, PartlySharedTrunk]
        if not self.cls.needs_sharing:
            kinds.append(SeparateTrunks)
        return [build_example(kind) for kind in kinds]


SUITE = Suite[StrategySubject]()


@SUITE.add
def moves_weights(subject: StrategySubject) -> None:
    """Steps move every weight of the network and keep all weights finite."""
    for network in subject.networks():
        strategy, before = subject.start(network), snapshot(network)
        for batch in batches(2):
            strategy.step(batch)
        check_finite(network)
        check_finite(strategy)
        still = [name for name, weight in network.named_parameters() if torch.equal(weight, before[name])]
        if still:
            raise Failed(f"two steps do not move {named(still)} of a network with {type(network).__name__}")


@SUITE.add
def returned_losses(subject: StrategySubject) -> None:
    """A step returns the batch's losses as the network gives them: one scalar per labelled task, in task order."""
    # With a learning rate of 0 the losses are the same before, during and after the step.
    still = OptimizerSpec("sgd", lr=0.0, momentum=0.0)
    for absent in ((), ("depth",)):
        network = build_example(SharedTrunk)
        batch = make_batch(dense_tasks(), unlabelled=absent)
        strategy = subject.start(network, make_run(still))
        with torch.no_grad():
            expected = network.losses(batch)
        returned = losses_of(strategy, batch)
        if list(returned) != list(expected):
            raise Failed(f"`step` returned losses of {', '.join(returned) or 'no task'}: expected {', '.join(expected)}")
        for task, loss in returned.items():
            if not isinstance(loss, Tensor) or loss.ndim:
                raise Failed(f"`step` returned {type(loss).__name__} as the loss of {task}: expected a scalar tensor")
            if not torch.allclose(loss.detach().float(), expected[task].float(), rtol=1e-4):
                raise Failed(
                    f"`step` returned {float(loss.detach()):.4g} as the loss of {task}, and the network's is "
                    f"{float(expected[task]):.4g}: return the losses as they are, without weights"
                )


@SUITE.add
def updates_per_step(subject: StrategySubject) -> None:
    """`updates_per_step()` is how often an optimizer of the network's weights steps in one call of `step`."""
    network = build_example(SharedTrunk)
    strategy = subject.start(network)
    for batch in batches(2):
        declared, counter = strategy.updates_per_step(), UpdateCounter(network)
        with counter.counting():
            strategy.step(batch)
        if counter.count != declared:
            raise Failed(
                f"one call of `step` made {counter.count} optimizer steps, and `updates_per_step()` says {declared}"
            )


@SUITE.add
def partly_labelled(subject: StrategySubject) -> None:
    """Where a batch lacks labels of a task, what that task owns alone stays, and all else moves."""
    tasks = [task.name for task in dense_tasks()]
    for kind in (SharedTrunk, PartlySharedTrunk):
        network = build_example(kind)
        strategy, owners = subject.start(network), network.owners()
        strategy.step(batches(1)[0])
        for absent in ([tasks[1]], [tasks[0], tasks[2]], [tasks[2]]):
            before = snapshot(network)
            strategy.step(make_batch(dense_tasks(), seed=1, unlabelled=absent))
            check_finite(network)
            for name, weight in network.named_parameters():
                moved, absent_alone = not torch.equal(weight, before[name]), owners[name] <= set(absent)
                if moved and absent_alone:
                    raise Failed(f"{name}, owned by {' and '.join(absent)} alone, moves in a batch without their labels")
                if not moved and not absent_alone:
                    raise Failed(f"{name} does not move in a batch that lacks labels of {' and '.join(absent)} only")


@SUITE.add
def no_labels(subject: StrategySubject) -> None:
    """A batch without any label moves nothing and has no losses."""
    network = build_example(SharedTrunk)
    strategy = subject.start(network)
    strategy.step(batches(1)[0])
    before, own = snapshot(network), snapshot(strategy)
    losses = losses_of(strategy, make_batch(dense_tasks(), unlabelled=[task.name for task in dense_tasks()]))
    if losses:
        raise Failed(f"`step` returned losses of {', '.join(losses)} for a batch without labels: expected none")
    moved = [name for name, weight in network.named_parameters() if not torch.equal(weight, before[name])]
    moved += [name for name, weight in strategy.named_parameters() if not torch.equal(weight, own[name])]
    if moved:
        raise Failed(f"a batch without labels moves {named(moved)}")
    # An epoch of such batches has no mean loss of some tasks, and training goes on.
    strategy.end_epoch({strategy.tasks[0]: 1.0, strategy.tasks[1]: float("nan")})
    strategy.step(batches(1)[0])
    check_finite(network)


@SUITE.add
def no_gradient(subject: StrategySubject) -> None:
    """A task whose gradient is zero leaves all weights finite."""
    network, batch = build_example(SharedTrunk), batches(1)[0]
    invalid = network.tasks["depth"].invalid
    batch.targets["depth"].fill_(invalid)  # labelled, but no pixel is valid: the loss is 0 and so is its gradient
    strategy = subject.start(network)
    for _ in range(2):
        strategy.step(batch)
    check_finite(network)
    check_finite(strategy)


@SUITE.add
def nan_is_reported(subject: StrategySubject) -> None:
    """A loss that is not a number is returned as it is (or the step fails), so that the record shows it."""
    network, batch = build_example(SharedTrunk), batches(1)[0]
    strategy = subject.start(network)
    strategy.step(batch)
    image = batch.image.clone()
    image[0, 0, 0, 0] = float("nan")
    try:
        losses = losses_of(strategy, replace(batch, image=image))
    except (ArithmeticError, RuntimeError, ValueError):
        return
    hidden = [task for task, loss in losses.items() if bool(loss.detach().isfinite())]
    if hidden or not losses:
        raise Failed(f"the loss of {' and '.join(hidden) or 'every task'} was NaN, and `step` hides it")


@SUITE.add
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


@SUITE.add
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


@SUITE.add
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


@SUITE.add
def state(subject: StrategySubject) -> None:
    """A new strategy that is given `state_dict()` and the optimizers' states goes on to the bit."""
    first, second = batches(2, unlabelled={1: ["depth"]}), batches(2, unlabelled={1: ["depth"]}, seed=7)
    network, run = build_example(SharedTrunk), make_run()
    strategy = subject.start(network, run)
    train(strategy, first, epochs=2)
    saved = copy.deepcopy((network.state_dict(), strategy.state_dict()))
    optimizers = {name: copy.deepcopy(optimizer.state_dict()) for name, optimizer in strategy.optimizers.items()}
    train(strategy, second)

    other, run = build_example(SharedTrunk), make_run()
    resumed = subject.create(other, run)
    other.load_state_dict(saved[0])
    resumed.load_state_dict(saved[1])
    run.epoch = 2
    resumed.start()
    if list(resumed.optimizers) != list(optimizers):
        raise Failed(f"after a resume `start` makes the optimizers {list(resumed.optimizers)}: expected {list(optimizers)}")
    for name, optimizer in resumed.optimizers.items():
        optimizer.load_state_dict(optimizers[name])
    train(resumed, second)
    if (differing := difference(network, other)) != 0:
        raise Failed(
            f"a resumed strategy ends {differing:.1e} away from one that never stopped: keep what it remembers in "
            "buffers (`register_buffer`) or learned weights (`learn`), made in `setup`"
        )


@SUITE.add
def random_draws(subject: StrategySubject) -> None:
    """Random draws come from the run's streams: global random states do not matter."""
    ends = []
    for seed in (0, 1):
        network = build_example(SharedTrunk)
        strategy = subject.start(network, make_run())
        seed_everything(seed)
        for batch in batches(2):
            strategy.step(batch)
        ends.append(network)
    if difference(*ends) != 0:
        raise Failed("the global random states decide where the weights end: draw with `self.stream(name)`")


@SUITE.add
def pieces(subject: StrategySubject) -> None:
    """A batch that passes through the network in pieces gives the losses and the step of the whole batch."""
    # In evaluation mode BatchNorm does not see which images pass together.
    whole, divided = build_example(SharedTrunk).eval(), build_example(SharedTrunk).eval()
    sizes: list[int] = []
    for head in divided.heads.values():
        head.register_forward_pre_hook(lambda module, inputs: sizes.append(len(inputs[0][-1])))
    first, second = subject.start(whole, make_run(PLAIN_SGD)), subject.start(divided, make_run(PLAIN_SGD, micro_batches=2))
    for batch in (make_batch(dense_tasks(), 0), make_batch(dense_tasks(), 1, unlabelled=["depth"])):
        losses, in_pieces = losses_of(first, batch), losses_of(second, batch)
        for task, loss in losses.items():
            if not torch.allclose(in_pieces[task].detach(), loss.detach(), rtol=1e-3):
                raise Failed(f"with `micro_batches` the loss of {task} is another one: get losses from `self.losses(batch)`")
    if len(batch) in sizes:
        raise Failed("with `micro_batches` the whole batch passes at once: get losses from `self.losses(batch)`")
    if (differing := relative_difference(whole, divided, dense_tasks())) > TOLERANCE:
        raise Failed(f"with `micro_batches` the weights end {differing:.1%} of the way off")


@SUITE.add
def jacobian_weights(subject: StrategySubject) -> None:
    """A `JacobianStrategy` gives one finite weight per row, for any number of rows."""
    if not issubclass(subject.cls, JacobianStrategy):
        raise NotApplicable("it combines losses, not gradients")
    if subject.cls.combine is not JacobianStrategy.combine:
        raise NotApplicable("it overrides `combine`, which sees whole gradients")
    strategy = subject.start(build_example(SharedTrunk))
    assert isinstance(strategy, JacobianStrategy)
    draw = torch.Generator().manual_seed(0)
    for count in range(1, len(strategy.tasks) + 1):
        rows = torch.randn(count, 20, generator=draw, dtype=torch.float64)
        losses = {task: torch.tensor(1.0 + number) for number, task in enumerate(sorted(strategy.tasks)[:count])}
        weights = strategy.weights(rows @ rows.T, losses)
        if not isinstance(weights, Tensor) or weights.shape != (count,):
            shape = list(weights.shape) if isinstance(weights, Tensor) else type(weights).__name__
            raise Failed(f"for {count} rows `weights` returned {shape}: expected a tensor of shape [{count}]")
        if not weights.isfinite().all():
            raise Failed(f"for {count} rows of random gradients `weights` is not finite")


@SUITE.add
def plain_data(subject: StrategySubject) -> None:
    """`artefacts()` is JSON, before and after training."""
    strategy = subject.start(build_example(SharedTrunk))
    for _ in range(2):
        require_json("`artefacts()`", strategy.artefacts())
        train(strategy, batches(1))


@SUITE.add
def invariances(subject: StrategySubject) -> None:
    """`invariances` holds known words, and a strategy of gradients says that it needs shared weights."""
    if unknown := subject.cls.invariances - set(INVARIANCES):
        raise Failed(f"`invariances` holds {', '.join(map(repr, sorted(unknown)))}: known are {', '.join(INVARIANCES)}")
    if issubclass(subject.cls, JacobianStrategy) and not subject.cls.needs_sharing:
        raise Failed("a JacobianStrategy combines gradients of shared weights: `needs_sharing` must stay True")


# -- what the properties are made of --------------------------------------------------------------------------------------


def batches(
    count: int, tasks: Sequence[Task] | None = None, unlabelled: Mapping[int, Sequence[str]] | None = None, seed: int = 0
) -> list[Batch]:
    """Random batches; `unlabelled` names, by batch, the tasks that lack their labels."""
    # Drawn for all tasks, so that a task has the same targets among any others.
    drawn = [make_batch(dense_tasks(), seed + number, (unlabelled or {}).get(number, ())) for number in range(count)]
    if tasks is None:
        return drawn
    names = [task.name for task in tasks]
    return [
        replace(
            batch,
            targets={name: batch.targets[name] for name in names},
            labelled={name: batch.labelled[name] for name in names},
        )
        for batch in drawn
    ]


def losses_of(strategy: Strategy, batch: Batch) -> TaskLosses:
    """What a step returns."""
    returned = strategy.step(batch)
    if not isinstance(returned, dict):
        raise Failed(f"`step` returned {type(returned).__name__}: return the losses, a dict of task → scalar")
    return returned


def train(strategy: Strategy, data: Sequence[Batch], epochs: int = 1) -> None:
    """Train as the harness does: steps, then the end of the epoch."""
    for _ in range(epochs):
        sums = dict.fromkeys(strategy.tasks, 0.0)
        for batch in data:
            returned = strategy.step(batch)
            # What `step` returns is another property's business.
            for task, loss in returned.items() if isinstance(returned, dict) else ():
                sums[task] += float(torch.as_tensor(loss).detach()) / len(data)
        strategy.end_epoch(sums)
        strategy.run.epoch += 1


def ordered_end(subject: StrategySubject, tasks: Sequence[Task]) -> Architecture:
    """A network after one epoch with its tasks in the given order."""
    network = build_example(SharedTrunk, tasks)
    train(subject.start(network, make_run(PLAIN_SGD)), batches(2, tasks))
    return network


def difference(network: nn.Module, other: nn.Module) -> float:
    """The largest difference of any single weight."""
    weights = dict(other.named_parameters())
    largest = [(weight - weights[name]).detach().abs().max() for name, weight in network.named_parameters()]
    value = float(torch.stack(largest).max())
    return value if value == value else float("inf")


def relative_difference(network: Architecture, other: Architecture, tasks: Sequence[Task]) -> float:
    """The same, as a fraction of the furthest that training moved a weight of a `SharedTrunk`."""
    apart, moved = difference(network, other), difference(network, build_example(SharedTrunk, tasks))
    return apart / moved if moved > 0 else float(apart > 0)


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
