"""What every architecture promises, for every plugin that can be found."""

from __future__ import annotations

import json
import math

import pytest
import torch

from mtlbench.config.plugins import Registry
from mtlbench.contract import SharingPlan
from mtlbench.contract.strategy import Strategy
from mtlbench.measure.cost import inference_flops, parameters
from tests.tiny import batch, build, dense_tasks, image_tasks, run

ARCHITECTURES = Registry().architectures()
TASKS = {"dense": dense_tasks, "image": image_tasks}

each = pytest.mark.parametrize("name", sorted(ARCHITECTURES))
each_kind = pytest.mark.parametrize("kind", sorted(TASKS))


@each
@each_kind
def test_predictions_have_the_shape_of_the_task(name: str, kind: str) -> None:
    tasks = TASKS[kind]()
    network = build(ARCHITECTURES[name], tasks).eval()
    sample = batch(tasks)
    output = network(sample.image)
    assert list(output) == [task.name for task in tasks]
    for task in tasks:
        shape = (4, task.channels, *sample.image.shape[-2:]) if task.dense else (4, task.channels)
        assert output[task.name].shape == shape
        assert output[task.name].isfinite().all()


@each
def test_a_task_alone_predicts_what_it_predicts_among_others(name: str) -> None:
    network = build(ARCHITECTURES[name]).eval()
    image = batch().image
    together = network(image)
    for task in network.tasks:
        assert torch.equal(network(image, [task])[task], together[task])


@each
def test_own_images_of_a_task_give_their_rows(name: str) -> None:
    network = build(ARCHITECTURES[name]).eval()
    image = batch().image
    together = network(image)
    rows = {task: torch.tensor([number % 4, 3])[: 1 + (number % 4 != 3)] for number, task in enumerate(network.tasks)}
    own = network(image, None, rows)
    for task in network.tasks:
        torch.testing.assert_close(own[task], together[task][rows[task]], rtol=1e-4, atol=1e-5)


@each
def test_losses_reach_exactly_the_parameters_their_tasks_own(name: str) -> None:
    network = build(ARCHITECTURES[name]).train()
    losses = network.losses(batch())
    owners = network.owners()
    named = [(key, one) for key, one in network.named_parameters() if one.requires_grad]
    assert owners.keys() == dict(network.named_parameters()).keys()
    for task, loss in losses.items():
        gradients = torch.autograd.grad(loss, [one for _, one in named], retain_graph=True, allow_unused=True)
        for (key, _), gradient in zip(named, gradients, strict=True):
            if task in owners[key]:
                assert gradient is not None, f"{key} is owned by {task}, and its loss does not reach it"
                assert gradient.isfinite().all()
            else:
                assert gradient is None or not gradient.any(), f"{key} is not owned by {task}, and its loss moves it"


@each
def test_parameters_are_shared_or_owned_by_one(name: str) -> None:
    network = build(ARCHITECTURES[name])
    own = sum(len(network.own_parameters(task)) for task in network.tasks)
    owned = [key for key, tasks in network.owners().items() if tasks and dict(network.named_parameters())[key].requires_grad]
    assert own + len(network.shared_parameters()) == len(owned)
    assert sorted(task for part in network.parts() for task in part) == sorted(network.tasks)
    if not network.shares:
        assert not network.shared_parameters()
        assert len(network.parts()) == len(network.tasks)


@each
def test_an_unlabelled_task_has_no_loss(name: str) -> None:
    network = build(ARCHITECTURES[name]).train()
    assert set(network.losses(batch(unlabelled=("depth",)))) == {"segmentation", "normals"}


@each
def test_the_plan_is_a_table_of_all_tasks_and_survives_json(name: str) -> None:
    network = build(ARCHITECTURES[name])
    plan = network.plan()
    assert plan.tasks == tuple(network.tasks)
    assert SharingPlan.from_json(json.loads(json.dumps(plan.to_json()))) == plan


@each
def test_structure_is_restored_before_weights(name: str) -> None:
    network, other = build(ARCHITECTURES[name]).eval(), build(ARCHITECTURES[name]).eval()
    for weight in other.parameters():
        weight.data.add_(1)
    other.restore_structure(json.loads(json.dumps(network.structure())))
    other.load_state_dict(network.state_dict())
    image = batch().image
    for task, one in network(image).items():
        assert torch.equal(other.eval()(image)[task], one)


@each
def test_initial_weights_depend_on_the_seed_alone(name: str) -> None:
    torch.manual_seed(1)
    first = build(ARCHITECTURES[name], seed=3).state_dict()
    torch.manual_seed(2)
    second, other = build(ARCHITECTURES[name], seed=3).state_dict(), build(ARCHITECTURES[name], seed=4).state_dict()
    assert all(torch.equal(first[key], second[key]) for key in first)
    assert any(not torch.equal(first[key], other[key]) for key in first)


@each
def test_phases_fit_the_budget_and_end_in_epochs_that_can_be_selected(name: str) -> None:
    cls = ARCHITECTURES[name]
    for epochs in (cls.minimum_epochs, 40):
        network, the_run = build(cls), run(epochs)
        phases = network.phases(the_run, Strategy(network, the_run, {}))
        assert sum(phase.epochs for phase in phases) <= epochs
        assert phases[-1].selectable
        assert all(phase.epochs > 0 for phase in phases)


@each
def test_costs_add_up(name: str) -> None:
    network = build(ARCHITECTURES[name])
    counted = parameters(network, network.deploy())
    assert counted["total"] == counted["trunk"] + counted["heads"]
    assert counted["total"] == counted["shared"] + sum(counted[f"task:{task}"] for task in network.tasks)
    flops = inference_flops(network, network.deploy(), torch.device("cpu"))
    assert flops["all"] == flops["trunk"] + flops["heads"]
    alone = [flops[f"task:{task}"] for task in network.tasks]
    assert max(alone) <= flops["all"] <= sum(alone)


@each
def test_what_is_shown_is_plain_data(name: str) -> None:
    network = build(ARCHITECTURES[name])
    json.dumps([network.structure(), network.artefacts()])
    assert all(math.isfinite(value) for value in network.extra().values())
