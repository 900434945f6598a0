"""What every architecture promises, for every plugin that can be found."""

from __future__ import annotations

import json
import math

import pytest
import torch

from mtlbench.config.plugins import Registry
from mtlbench.contract import Phase, SharingPlan, Strategy
from mtlbench.measure.cost import inference_flops, parameters
from tests.tiny import batch, build, dense_tasks, image_tasks, run
from tests.tiny_methods import make, make_run, network, reloaded, run_phase

ARCHITECTURES = Registry().architectures()
TASKS = {"dense": dense_tasks, "image": image_tasks}

each = pytest.mark.parametrize("name", sorted(ARCHITECTURES))
each_kind = pytest.mark.parametrize("kind", sorted(TASKS))


@each
@each_kind
def test_predictions_have_the_shape_of_the_task(name: str, kind: str) -> None:
    tasks = TASKS[kind]()
    net = build(ARCHITECTURES[name], tasks).eval()
    sample = batch(tasks)
    output = net(sample.image)
    assert list(output) == [task.name for task in tasks]
    for task in tasks:
        shape = (4, task.channels, *sample.image.shape[-2:]) if task.dense else (4, task.channels)
        assert output[task.name].shape == shape
        assert output[task.name].isfinite().all()


@each
def test_a_task_alone_predicts_what_it_predicts_among_others(name: str) -> None:
    net = build(ARCHITECTURES[name]).eval()
    image = batch().image
    together = net(image)
    for task in net.tasks:
        assert torch.equal(net(image, [task])[task], together[task])


@each
def test_own_images_of_a_task_give_their_rows(name: str) -> None:
    net = build(ARCHITECTURES[name]).eval()
    image = batch().image
    together = net(image)
    rows = {task: torch.tensor([number % 4, 3])[: 1 + (number % 4 != 3)] for number, task in enumerate(net.tasks)}
    own = net(image, None, rows)
    for task in net.tasks:
        torch.testing.assert_close(own[task], together[task][rows[task]], rtol=1e-4, atol=1e-5)


@each
def test_losses_reach_exactly_the_parameters_their_tasks_own(name: str) -> None:
    net = build(ARCHITECTURES[name]).train()
    losses = net.losses(batch())
    owners = net.owners()
    named = [(key, weight) for key, weight in net.named_parameters() if weight.requires_grad]
    assert owners.keys() == dict(net.named_parameters()).keys()
    for task, loss in losses.items():
        gradients = torch.autograd.grad(loss, [weight for _, weight in named], retain_graph=True, allow_unused=True)
        for (key, _), gradient in zip(named, gradients, strict=True):
            if task in owners[key]:
                assert gradient is not None, f"{key} is owned by {task}, and its loss does not reach it"
                assert gradient.isfinite().all()
            else:
                assert gradient is None or not gradient.any(), f"{key} is not owned by {task}, and its loss moves it"


@each
def test_parameters_are_shared_or_owned_by_one(name: str) -> None:
    net = build(ARCHITECTURES[name])
    own = sum(len(net.own_parameters(task)) for task in net.tasks)
    owned = [key for key, tasks in net.owners().items() if tasks and dict(net.named_parameters())[key].requires_grad]
    assert own + len(net.shared_parameters()) == len(owned)
    assert sorted(task for part in net.parts() for task in part) == sorted(net.tasks)
    if not net.shares:
        assert not net.shared_parameters()
        assert len(net.parts()) == len(net.tasks)


@each
def test_an_unlabelled_task_has_no_loss(name: str) -> None:
    net = build(ARCHITECTURES[name]).train()
    assert set(net.losses(batch(unlabelled=("depth",)))) == {"segmentation", "normals"}


@each
def test_the_plan_is_a_table_of_all_tasks_and_survives_json(name: str) -> None:
    net = build(ARCHITECTURES[name])
    plan = net.plan()
    assert plan.tasks == tuple(net.tasks)
    assert SharingPlan.from_json(json.loads(json.dumps(plan.to_json()))) == plan


@each
def test_structure_is_restored_before_weights(name: str) -> None:
    net, other = build(ARCHITECTURES[name]).eval(), build(ARCHITECTURES[name]).eval()
    for weight in other.parameters():
        weight.data.add_(1)
    other.restore_structure(json.loads(json.dumps(net.structure())))
    other.load_state_dict(net.state_dict())
    image = batch().image
    for task, prediction in net(image).items():
        assert torch.equal(other.eval()(image)[task], prediction)


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
        net, the_run = build(cls), run(epochs)
        phases = net.phases(the_run, Strategy(net, the_run, {}))
        assert sum(phase.epochs for phase in phases) <= epochs
        assert phases[-1].selectable
        assert all(phase.epochs > 0 for phase in phases)


@each
def test_costs_add_up(name: str) -> None:
    net = build(ARCHITECTURES[name])
    counted = parameters(net, net.deploy())
    assert counted["total"] == counted["trunk"] + counted["heads"]
    assert counted["total"] == counted["shared"] + sum(counted[f"task:{task}"] for task in net.tasks)
    flops = inference_flops(net, net.deploy(), torch.device("cpu"))
    assert flops["all"] == flops["trunk"] + flops["heads"]
    alone = [flops[f"task:{task}"] for task in net.tasks]
    assert max(alone) <= flops["all"] <= sum(alone)


@each
def test_what_is_shown_is_plain_data(name: str) -> None:
    net = build(ARCHITECTURES[name])
    json.dumps([net.structure(), net.artefacts()])
    assert all(math.isfinite(value) for value in net.extra().values())


@each
def test_checkpoints_hold_plain_data_in_every_phase(name: str) -> None:
    """Tensors, numbers, strings and plain containers: what loads without running foreign code."""
    net = network(name)
    strategy = make("equal", net, make_run(epochs=max(8, net.minimum_epochs)))
    for phase in net.phases(strategy.run, strategy):

        def save(phase: Phase = phase) -> None:
            optimizers = {key: optimizer.state_dict() for key, optimizer in phase.optimizers.items()}
            state = [net.structure(), net.state_dict(), strategy.state_dict(), phase.state(), optimizers]
            assert repr(reloaded(state)) == repr(state)

        run_phase(phase, between=save)
        state = [net.structure(), net.state_dict()]  # as it is between two phases
        assert repr(reloaded(state)) == repr(state)
