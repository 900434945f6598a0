"""What every architecture must do, tried on small random batches."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from mtlbench.conformance.examples import TASKS, dense_tasks, make_batch, make_run, network_config, snapshot
from mtlbench.conformance.json_values import require_json
from mtlbench.conformance.suite import Failed, Suite, seed_everything
from mtlbench.contract import Architecture, Batch, OptimizerSpec, SharingPlan, Strategy
from mtlbench.measure.cost import inference_flops, parameters
from mtlbench.networks.placement import on_device
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


# -- checks of one network, initial or trained ---------------------------------------------------------------------------


def check_predictions(network: nn.Module, tasks: Sequence[Task], batch: Batch) -> None:
    """One finite prediction per task, in order, each of its task's shape."""
    output = network(batch.image)
    if list(output) != [task.name for task in tasks]:
        raise Failed(f"the predictions are of {', '.join(output)}: expected {', '.join(task.name for task in tasks)}")
    for task in tasks:
        size = batch.image.shape[-2:]
        shape = (len(batch), task.channels, *size) if task.dense else (len(batch), task.channels)
        if output[task.name].shape != shape:
            raise Failed(f"the prediction of {task.name} has shape {list(output[task.name].shape)}: expected {list(shape)}")
        if not output[task.name].isfinite().all():
            raise Failed(f"the prediction of {task.name} is not finite")


def check_losses(losses: Mapping[str, Tensor], tasks: Sequence[str] | Mapping[str, Task]) -> None:
    """One finite scalar per task."""
    if set(losses) != set(tasks):
        raise Failed(f"there are losses of {', '.join(losses) or 'no task'}: expected {', '.join(tasks)}")
    for task, loss in losses.items():
        if loss.ndim or not bool(loss.isfinite()):
            raise Failed(f"the loss of {task} is not a finite scalar")


def check_owners(network: Architecture, batch: Batch) -> None:
    """Both directions: what a task owns gets a gradient from its loss, and what it does not own gets none."""
    owned = network.owners()
    weights = {name: weight for name, weight in network.named_parameters() if weight.requires_grad}
    if unknown := set(weights) - set(owned):
        raise Failed(f"`owners()` does not know {named(sorted(unknown))}")
    for task, loss in network.losses(batch).items():
        gradients = torch.autograd.grad(loss, list(weights.values()), retain_graph=True, allow_unused=True)
        for name, gradient in zip(weights, gradients, strict=True):
            if task in owned[name] and gradient is None:
                raise Failed(
                    f"{task} owns {name}, and its loss does not reach it: is something detached, or does `own` name too "
                    "many tasks?"
                )
            if task not in owned[name] and gradient is not None and gradient.any():
                raise Failed(
                    f"the loss of {task} reaches {name}, which only {_list(owned[name])} owns: declare it with `own`"
                )
            if gradient is not None and not gradient.isfinite().all():
                raise Failed(f"the gradient of {task} for {name} is not finite")


def check_parts(network: Architecture) -> None:
    """Ownership divides parameters and tasks."""
    own = sum(len(network.own_parameters(task)) for task in network.tasks)
    trainable = {name for name, weight in network.named_parameters() if weight.requires_grad}
    owned = [name for name, tasks in network.owners().items() if tasks and name in trainable]
    if own + len(network.shared_parameters()) != len(owned):
        raise Failed("some trainable parameter is neither shared nor one task's own, or is counted twice")
    divided = network.parts()
    if sorted(task for part in divided for task in part) != sorted(network.tasks):
        raise Failed(f"`parts()` gives {divided}, in which not every task stands once")
    if not network.shares and (network.shared_parameters() or len(divided) != len(network.tasks)):
        raise Failed("`shares` is False, and tasks share parameters")


def check_deployed(network: nn.Module, tasks: Sequence[Task]) -> None:
    """A deployed network predicts what it is asked for."""
    batch = make_batch(tasks)
    check_predictions(network, tasks, batch)
    for task in tasks:
        alone = network(batch.image, [task.name])
        if list(alone) != [task.name]:
            raise Failed(f"asked for {task.name} alone the deployed network predicts {', '.join(alone)}")


def check_restored(network: Architecture, other: Architecture, image: Tensor) -> None:
    """`other` becomes the network by its structure and weights."""
    other.restore_structure(json.loads(json.dumps(network.structure())))
    for each in (network, other):
        on_device(each, torch.device("cpu"))  # bits depend on how weights lie in memory
    try:
        other.load_state_dict(network.state_dict())
    except RuntimeError as error:
        lines = " ".join(line.strip() for line in str(error).splitlines())
        raise Failed(f"the weights do not fit after `restore_structure`: {lines[:200]}") from None
    expected, restored = network.eval()(image), other.eval()(image)
    for task in expected:
        if not torch.equal(restored[task], expected[task]):
            raise Failed(f"{task} is predicted differently: something decides predictions and is in neither of the two")


def check_plain_data(network: Architecture) -> None:
    """What goes into records is JSON."""
    require_json("`structure()`", network.structure())
    require_json("`artefacts()`", network.artefacts())
    for name, value in network.extra().items():
        if not math.isfinite(value):
            raise Failed(f"`extra()` gives {name} = {value}")


def check_finite(module: nn.Module) -> None:
    """All parameters are finite."""
    broken = [name for name, weight in module.named_parameters() if not weight.isfinite().all()]
    if broken:
        raise Failed(f"{named(broken)} is not finite any more")


def named(names: Sequence[str]) -> str:
    """The first of several parameters, and how many more there are."""
    return names[0] if len(names) == 1 else f"{names[0]} (and {len(names) - 1} more)"


def _list(tasks: frozenset[str]) -> str:
    return " and ".join(sorted(tasks)) or "nobody"
