"""What every strategy must do, tried on small networks whose tasks share all, some or none of their weights."""

from __future__ import annotations

import copy
from dataclasses import replace

import torch
from torch import Tensor

from mtlbench.conformance import strategy_invariances
from mtlbench.conformance.examples import (
    PartlySharedTrunk,
    SharedTrunk,
    build_example,
    dense_tasks,
    make_batch,
    make_run,
    snapshot,
)
from mtlbench.conformance.json_values import require_json
from mtlbench.conformance.network_checks import check_finite, named
from mtlbench.conformance.strategy_subject import (
    PLAIN_SGD,
    TOLERANCE,
    StrategySubject,
    batches,
    difference,
    losses_of,
    relative_difference,
    train,
)
from mtlbench.conformance.suite import Failed, NotApplicable, Suite, seed_everything
from mtlbench.contract import JacobianStrategy, OptimizerSpec
from mtlbench.training.updates import UpdateCounter

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
        # In evaluation mode BatchNorm does not see which images pass together.
        network = build_example(SharedTrunk).eval()
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
def absent_tasks(subject: StrategySubject) -> None:
    """Where a batch lacks labels of a task, weights that the strategy learns and that get no gradient stay."""
    strategy = subject.start(build_example(SharedTrunk))
    if not list(strategy.parameters()):
        raise NotApplicable("it learns no weights of its own")
    for batch in batches(2):
        strategy.step(batch)
    for absent in strategy.tasks:
        before = snapshot(strategy)
        strategy.step(make_batch(dense_tasks(), unlabelled=[absent]))
        for name, weight in strategy.named_parameters():
            if weight.grad is not None and bool((weight != before[name])[weight.grad == 0].any()):
                raise Failed(
                    f"in a batch without labels of {absent}, momentum moves a part of {name} whose gradient is zero: "
                    "learn one parameter per task, and leave those of absent tasks out"
                )


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


for _property in (strategy_invariances.one_task, strategy_invariances.task_order, strategy_invariances.loss_scale):
    SUITE.add(_property)


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


SUITE.add(strategy_invariances.invariances)
