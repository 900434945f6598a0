"""What every architecture must do, tried on small random batches."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass

import torch

from mtlbench.conformance.examples import TASKS, dense_tasks, make_batch, make_run, network_config, snapshot
from mtlbench.conformance.network_checks import (
    check_deployed,
    check_finite,
    check_losses,
    check_owners,
    check_parts,
    check_plain_data,
    check_predictions,
    check_restored,
    named,
)
from mtlbench.conformance.suite import Failed, Suite, seed_everything
from mtlbench.contract import Architecture, OptimizerSpec, SharingPlan, Strategy
from mtlbench.measure.cost import inference_flops, parameters
from mtlbench.tasks import Task

STEPS = 4
"""Steps after which every weight must have moved: a few more than one, since gates may start closed."""


@dataclass(frozen=True)
class ArchitectureSubject:
    """An architecture to be checked, with its hyper-parameters at their defaults."""

    name: str
    cls: type[Architecture]

    def build(self, tasks: Sequence[Task] | None = None, seed: int = 0) -> Architecture:
        """A small network with initial weights, on dense tasks unless others are given."""
        config = network_config(dense_tasks() if tasks is None else tasks, seed)
        return self.cls(config, self.cls.configure({}, self.name))


SUITE = Suite[ArchitectureSubject]()


@SUITE.add
def prediction_shapes(subject: ArchitectureSubject) -> None:
    """There is one finite prediction per task, of the task's shape, for dense tasks and for tasks of whole images."""
    for make_tasks in TASKS.values():
        tasks = make_tasks()
        check_predictions(subject.build(tasks).eval(), tasks, make_batch(tasks))


@SUITE.add
def tasks_alone(subject: ArchitectureSubject) -> None:
    """A task alone is predicted as it is predicted among the others."""
    network, image = subject.build().eval(), make_batch(dense_tasks()).image
    together = network(image)
    for task in network.tasks:
        if not torch.equal(network(image, [task])[task], together[task]):
            raise Failed(f"{task} asked for alone (`network(image, [{task!r}])`) is another prediction than among all tasks")


@SUITE.add
def own_images(subject: ArchitectureSubject) -> None:
    """Where tasks have images of their own (multi-input data), each is predicted and trained on these."""
    network, image = subject.build().eval(), make_batch(dense_tasks()).image
    together = network(image)
    rows = {task: torch.tensor([number % 4, 3])[: 1 + (number % 4 != 3)] for number, task in enumerate(network.tasks)}
    own = network(image, None, rows)
    for task in network.tasks:
        if own[task].shape != together[task][rows[task]].shape:
            expected = f"{list(together[task][rows[task]].shape)}, of shape {list(own[task].shape)}"
            raise Failed(f"{task} on its own {len(rows[task])} images is not of shape {expected}")
        if not torch.allclose(own[task], together[task][rows[task]], rtol=1e-4, atol=1e-5):
            raise Failed(f"{task} on its own images differs from its predictions on the same images of the whole batch")
    # Two images of each task: BatchNorm needs more than one.
    losses = network.train().losses(make_batch(dense_tasks(), count=2 * len(network.tasks), own_images=True))
    check_losses(losses, network.tasks)


@SUITE.add
def owners(subject: ArchitectureSubject) -> None:
    """A task's loss reaches exactly the parameters that the task owns."""
    for make_tasks in TASKS.values():
        tasks = make_tasks()
        check_owners(subject.build(tasks).train(), make_batch(tasks))


@SUITE.add
def parts(subject: ArchitectureSubject) -> None:
    """Every trainable parameter is shared or one task's own, and `parts()` divides the tasks."""
    check_parts(subject.build())


@SUITE.add
def unlabelled_tasks(subject: ArchitectureSubject) -> None:
    """A task without labels in a batch has no loss."""
    network, tasks = subject.build().train(), dense_tasks()
    for absent in ([tasks[1].name], [tasks[0].name, tasks[2].name]):
        losses = network.losses(make_batch(tasks, unlabelled=absent))
        check_losses(losses, [task.name for task in tasks if task.name not in absent])
    if losses := network.losses(make_batch(tasks, unlabelled=[task.name for task in tasks])):
        raise Failed(f"a batch without any label has losses of {', '.join(losses)}: expected none")


@SUITE.add
def training(subject: ArchitectureSubject) -> None:
    """A few steps move every weight that a task owns, and all weights stay finite."""
    network, tasks = subject.build().train(), dense_tasks()
    # Adam moves a weight by any gradient that is not exactly zero, however small.
    strategy = Strategy(network, make_run(OptimizerSpec("adam", lr=1e-3)), {})
    strategy.start()
    before, batch = snapshot(network), make_batch(tasks)
    for _ in range(STEPS):
        strategy.descend(strategy.losses(batch))
    check_finite(network)
    owned = {name for name, tasks_of in network.owners().items() if tasks_of}
    still = [name for name, weight in network.named_parameters() if name in owned and torch.equal(weight, before[name])]
    still = [name for name in still if dict(network.named_parameters())[name].requires_grad]
    if still:
        raise Failed(f"{STEPS} steps do not move {named(still)}: its gradient is zero, though a task owns it")


@SUITE.add
def sharing_plan(subject: ArchitectureSubject) -> None:
    """The plan is a table of all tasks, and JSON gives it back."""
    network = subject.build()
    plan = network.plan()
    if plan.tasks != tuple(network.tasks):
        raise Failed(f"the plan's columns are {', '.join(plan.tasks)}, and the tasks are {', '.join(network.tasks)}")
    if SharingPlan.from_json(json.loads(json.dumps(plan.to_json()))) != plan:
        raise Failed("the plan read from its own JSON is another one: entries must be integers or None")
    for name, further in network.further_plans().items():
        if set(further.tasks) != set(plan.tasks):
            raise Failed(f"the further plan {name!r} is not a table of all tasks")


@SUITE.add
def structure(subject: ArchitectureSubject) -> None:
    """A new network that is given the structure and then the weights predicts the same."""
    network, other = subject.build().eval(), subject.build().eval()
    for weight in other.parameters():
        weight.data.add_(1)
    check_restored(network, other, make_batch(dense_tasks()).image)


@SUITE.add
def initial_weights(subject: ArchitectureSubject) -> None:
    """Initial weights depend on the seed, and on the seed alone."""
    seed_everything(1)
    first = subject.build(seed=3).state_dict()
    seed_everything(2)
    second, other = subject.build(seed=3).state_dict(), subject.build(seed=4).state_dict()
    unequal = [key for key in first if not torch.equal(first[key], second[key])]
    if unequal:
        hint = "make modules in `build`, or under `self.initial(name)`"
        raise Failed(f"{named(unequal)} depends on global random states: {hint}")
    if all(torch.equal(first[key], other[key]) for key in first):
        raise Failed("two seeds give the same initial weights: build trunks from `self.new_backbone()` or units")


@SUITE.add
def deployed_network(subject: ArchitectureSubject) -> None:
    """`deploy()` gives a network that predicts the same tasks, all together and each alone."""
    for make_tasks in TASKS.values():
        tasks = make_tasks()
        check_deployed(subject.build(tasks).deploy().eval(), tasks)


@SUITE.add
def costs(subject: ArchitectureSubject) -> None:
    """Parameters and FLOPs are divided without a rest."""
    network = subject.build()
    counted = parameters(network, network.deploy())
    if counted["total"] != counted["shared"] + sum(counted[f"task:{task}"] for task in network.tasks):
        raise Failed("shared and task-specific parameters do not add up to all: see `owners()`")
    flops = inference_flops(network, network.deploy(), torch.device("cpu"))
    alone = [flops[f"task:{task}"] for task in network.tasks]
    if not max(alone) <= flops["all"] <= sum(alone):
        raise Failed(
            f"all tasks together cost {flops['all']:,} FLOPs, which is not between the dearest task's {max(alone):,} and "
            f"the sum of all tasks' {sum(alone):,}: does `features` compute what it was not asked for?"
        )


@SUITE.add
def phases(subject: ArchitectureSubject) -> None:
    """The phases fit the budget, from `minimum_epochs` on, and the last one's epochs can be selected."""
    for epochs in (subject.cls.minimum_epochs, 40):
        network, run = subject.build(), make_run(epochs=epochs)
        planned = network.phases(run, Strategy(network, run, {}))
        if not planned:
            raise Failed("`phases` gives no phase")
        if sum(phase.epochs for phase in planned) > epochs:
            spent = " + ".join(str(phase.epochs) for phase in planned)
            raise Failed(f"under a budget of {epochs} epochs the phases have {spent}")
        if any(phase.epochs < 1 for phase in planned):
            raise Failed(f"under a budget of {epochs} epochs a phase has none: raise `minimum_epochs`")
        if not planned[-1].selectable:
            raise Failed("the last phase is not selectable: no epoch could become the result")


@SUITE.add
def plain_data(subject: ArchitectureSubject) -> None:
    """`structure()`, `artefacts()` and `extra()` are JSON, and the numbers finite."""
    check_plain_data(subject.build())
