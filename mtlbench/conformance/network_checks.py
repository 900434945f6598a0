"""Checks of one network, initial or trained; each raises `Failed` with what is wrong."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from mtlbench.conformance.examples import make_batch
from mtlbench.conformance.json_values import require_json
from mtlbench.conformance.suite import Failed
from mtlbench.contract import Architecture, Batch
from mtlbench.networks.placement import on_device
from mtlbench.tasks import Task


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
