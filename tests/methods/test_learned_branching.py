"""Learned branching: the relaxed networks, their choices, the expected cost, and the trees that come out."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from mtlbench.conformance.network_checks import check_owners, check_parts
from mtlbench.contract import SharingGraph, UserError
from mtlbench.methods._shared.tree_search import SearchedTree, TreeSearch, WarmUp, relaxed_choices, tree_of
from mtlbench.methods.bmtas import BMTAS
from mtlbench.methods.bmtas.expected_cost import ExpectedCost, canonical, unit_flops
from mtlbench.methods.equal import Equal
from mtlbench.methods.ltb import LearningToBranch
from mtlbench.tasks import Classification
from tests.tiny import SIZE, batch, build, network_config, run, strategy
from tests.tiny_methods import GOLDEN

METHODS = [LearningToBranch, BMTAS]


@pytest.fixture(scope="module")
def golden() -> dict[str, Tensor]:
    with np.load(GOLDEN / "learned_branching.npz") as stored:
        return {name: torch.from_numpy(stored[name]) for name in stored.files}


# -- the expected cost --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("tasks", [2, 3, 4])
def test_official_cost_is_that_of_the_official_code(golden: dict[str, Tensor], tasks: int) -> None:
    alphas = golden[f"bmtas/{tasks}/alphas"].clone().requires_grad_()  # [unit, task, copy]
    cost = ExpectedCost(golden[f"bmtas/{tasks}/gflops"].tolist(), tasks, official=True)(alphas.softmax(-1).transpose(0, 1))
    torch.testing.assert_close(cost, golden[f"bmtas/{tasks}/cost"])
    cost.backward()
    torch.testing.assert_close(alphas.grad, golden[f"bmtas/{tasks}/grad"])


def test_exact_cost_is_the_mean_over_all_draws() -> None:
    costs, tasks = [1.0, 10.0, 3.0], 3
    generator = torch.Generator().manual_seed(0)
    probabilities = torch.randn(tasks, 3, tasks, generator=generator, dtype=torch.float64).softmax(-1)
    draws = list(product(range(tasks), repeat=tasks))
    mean = 0.0
    for choices in product(draws, repeat=3):  # [unit][task]
        weight = float(torch.stack([probabilities[t, u, choices[u][t]] for u in range(3) for t in range(tasks)]).prod())
        branches = [len({tuple(row[t] for row in choices[: u + 1]) for t in range(tasks)}) for u in range(3)]
        mean += weight * sum(cost * count for cost, count in zip(costs, branches, strict=True))
    assert float(ExpectedCost(costs, tasks)(probabilities)) == pytest.approx(mean)


def test_certain_choices_cost_what_their_tree_costs() -> None:
    # Tasks 0 and 1 part at the second unit and choose the same copy at the third: they stay apart.
    choices = [[0, 1, 2], [0, 0, 2], [0, 1, 2]]  # [task][unit]
    certain = nn.functional.one_hot(torch.tensor(choices), 3).double()
    assert float(ExpectedCost([1.0, 1.0, 1.0], 3)(certain)) == 1 + 2 + 2
    official = ExpectedCost([1.0, 1.0, 1.0], 3, official=True)(certain)
    assert float(official) == 1 + 2 + 3  # counts all three as apart


def test_canonical_partitions() -> None:
    assert canonical("bab") == (0, 1, 0)


def test_flops_of_units_are_those_of_the_trunk() -> None:
    network = build(BMTAS)
    flops = unit_flops([unit.make() for unit in network.parts_of_trunk], SIZE)
    assert len(flops) == 5 and all(value > 0 for value in flops)
    height, width = SIZE
    assert flops[0] == 2 * 16 * 3 * 9 * (height // 2) * (width // 2)


# -- choices ------------------------------------------------------------------------------------------------------------


def test_relaxed_choices_are_those_of_torch(golden: dict[str, Tensor]) -> None:
    soft = relaxed_choices(golden["ltb/logits"], golden["ltb/gumbel"], 0.7, "soft")
    torch.testing.assert_close(soft, golden["ltb/soft"])
    logits = golden["ltb/logits"].clone().requires_grad_()
    hard = relaxed_choices(logits, golden["ltb/gumbel"], 0.7, "straight_through")
    torch.testing.assert_close(hard.detach(), nn.functional.one_hot(soft.argmax(-1), 3).to(hard))
    (gradient,) = torch.autograd.grad((hard * golden["ltb/gumbel"]).sum(), logits)
    again = golden["ltb/logits"].clone().requires_grad_()
    relaxed = relaxed_choices(again, golden["ltb/gumbel"], 0.7, "soft")
    torch.testing.assert_close(gradient, torch.autograd.grad((relaxed * golden["ltb/gumbel"]).sum(), again)[0])


def test_temperatures() -> None:
    ltb, bmtas = build(LearningToBranch), build(BMTAS)
    assert [bmtas.temperature_at(progress) for progress in (0.0, 0.5, 1.0)] == pytest.approx([5.0, 2.55, 0.1])
    assert ltb.temperature_at(0.0) == 50


def test_temperature_of_ltb_is_that_of_libmtl_over_a_thousand_epochs(golden: dict[str, Tensor]) -> None:
    network = build(LearningToBranch)
    for epoch, temperature in golden["ltb/tau"].tolist():
        assert network.temperature_at(epoch / 999) == pytest.approx(temperature)


# -- relaxed networks ---------------------------------------------------------------------------------------------------


def test_ltb_computes_what_libmtl_computes(golden: dict[str, Tensor]) -> None:
    network = build(LearningToBranch).double()
    assert network.graph is not None
    for task in range(3):
        stem = nn.Conv2d(3, 4, 1, bias=False).double()
        stem.weight.data = golden["ltb/stem"][task]
        network.graph.variants[f"0_{task}"] = stem
        for depth in range(1, 5):
            unit = nn.Conv2d(4, 4, 1, bias=False).double()
            unit.weight.data = golden["ltb/units"][task][depth - 1]
            network.graph.variants[f"{depth}_{task}"] = nn.Sequential(unit, nn.ReLU())
    gates = golden["ltb/gates"][1:].clone().requires_grad_()  # [unit, child, parent]; LibMTL uses four of them
    heads = torch.eye(3, dtype=torch.float64)[None]
    rows = torch.cat([gates[:4], heads])
    network.gates = {task: rows[:, number] for number, task in enumerate(network.tasks)}
    maps = network.relaxed(golden["ltb/image"], list(network.tasks))
    features = torch.stack([maps[task][-1] for task in network.tasks])
    torch.testing.assert_close(features, golden["ltb/features"])
    sum((each**2).mean() for each in features).backward()  # type: ignore[union-attr]
    torch.testing.assert_close(gates.grad[:4], golden["ltb/gates_grad"][1:5])  # type: ignore[index]


@pytest.mark.parametrize("units", ["stages", "blocks"])
@pytest.mark.parametrize("cls", METHODS)
def test_with_hard_gates_the_relaxed_network_is_the_likely_tree(cls: type[SearchedTree], units: str) -> None:
    network = build(cls, units=units).eval()
    assert network.graph is not None
    generator = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for weight in network.graph.parameters():  # the nodes of a unit start from the same weights
            weight += 0.1 * torch.randn(weight.shape, generator=generator)
        for logits in network.logits.values():
            logits.copy_(torch.randn(logits.shape, generator=generator))
    count = len(network.tasks)
    network.gates = {
        task: nn.functional.one_hot(logits.argmax(-1), count).float() for task, logits in network.logits.items()
    }
    paths, plan = network.paths(), network.likely_tree()
    assert plan.is_tree()
    tree = SharingGraph(network.parts_of_trunk, plan).eval()
    for depth, row in enumerate(plan.table):
        for task, variant in zip(plan.tasks, row, strict=True):
            node = network.graph.module(depth, paths[task][depth])
            tree.module(depth, variant).load_state_dict(node.state_dict())
    image = batch().image
    maps, expected = network.relaxed(image, plan.tasks), tree(image)
    for task in plan.tasks:
        for level, other in zip(maps[task], expected[task], strict=True):
            torch.testing.assert_close(level, other, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("cls", METHODS)
def test_under_gates_ownership_holds(cls: type[SearchedTree]) -> None:
    network = build(cls).train()
    network.gates = {task: logits.softmax(-1) for task, logits in network.logits.items()}
    check_owners(network, batch())
    check_parts(network)
    rows = {task: torch.tensor([number, 3]) for number, task in enumerate(network.tasks)}
    predictions = network.eval()(batch().image)
    for task, own in network(batch().image, None, rows).items():
        torch.testing.assert_close(own, predictions[task][rows[task]])


def test_paths_make_trees() -> None:
    plan = tree_of(["a", "b", "c"], {"x": [0, 1, 1], "y": [0, 2, 1], "z": [0, 1, 0]})
    assert plan.table == ((0, 0, 0), (0, 1, 0), (0, 1, 2)) and plan.is_tree()


def test_ltb_prunes_nodes_without_tasks() -> None:
    network = build(LearningToBranch)
    with torch.no_grad():
        for logits in network.logits.values():
            logits[:, 2] = 1.0  # every node and every head reads node 2
    assert network.paths() == {task: [2] * 5 for task in network.tasks}
    assert network.likely_tree().table == ((0, 0, 0),) * 5


# -- training -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("cls", METHODS)
def test_logits_and_weights_take_turns(cls: type[SearchedTree]) -> None:
    network, the_run = build(cls), run(10)
    phases = network.phases(the_run, strategy(Equal, network, the_run))
    assert [(phase.name, phase.epochs, phase.selectable) for phase in phases] == [
        ("tree search", 4, False),
        ("retraining", 6, True),
    ]
    search = phases[0]
    assert isinstance(search, TreeSearch)
    search.prepare()
    logits_pass, weights_pass = search.passes(0)
    assert logits_pass.part == (0.8, 1.0) and weights_pass.part == (0.0, 0.8)

    def changed(step: object) -> set[str]:
        before = {name: value.detach().clone() for name, value in network.named_parameters()}
        step(batch())  # type: ignore[operator]
        return {name.split(".")[0] for name, value in network.named_parameters() if not torch.equal(value, before[name])}

    assert changed(logits_pass.step) == {"logits"}
    assert changed(weights_pass.step) == {"graph", "heads"}
    assert search.images_seen == 2 * len(batch())
    search.finish()
    phases[1].begin()
    assert network.gates is None and network.plan() == network.likely_tree()
    fresh = build(cls).heads.state_dict()
    assert all(torch.equal(value, fresh[name]) for name, value in network.heads.state_dict().items())


def test_warm_up_of_a_long_search() -> None:
    network, the_run = build(BMTAS), run(100)
    phases = network.phases(the_run, strategy(Equal, network, the_run))
    assert [(phase.name, phase.epochs) for phase in phases] == [("warm-up", 2), ("tree search", 38), ("retraining", 60)]
    assert isinstance(phases[0], WarmUp)
    phases[0].prepare()
    assert network.gates is None and network.shared_parameters() == list(network.graph.module(0, 0).parameters())  # type: ignore[union-attr]
    ltb = build(LearningToBranch)
    warm_up = ltb.phases(the_run, strategy(Equal, ltb, the_run))[0]
    warm_up.prepare()
    assert ltb.gates is not None and float(ltb.gates["depth"].min()) == pytest.approx(1 / 3)


def test_the_price_alone_leads_bmtas_to_hard_sharing() -> None:
    network = build(BMTAS)
    for logits in network.logits.values():
        logits.requires_grad_(True)
    with torch.no_grad():
        for number, logits in enumerate(network.logits.values()):
            logits[:, number] = 0.2  # the tasks lean towards copies of their own
            logits[:, 0] += 0.3
    optimizer = torch.optim.Adam(network.logits.parameters(), lr=0.1)
    for _ in range(40):
        optimizer.zero_grad()
        network.price().backward()
        optimizer.step()
    assert all(len(set(row)) == 1 for row in network.likely_tree().table)
    assert float(network.price().detach()) < 1.2 * network.resources


def test_bmtas_refuses_many_tasks() -> None:
    tasks = tuple(Classification(f"task{number}", 2) for number in range(7))
    with pytest.raises(UserError, match="at most 6 tasks, and there are 7"):
        BMTAS(network_config(tasks), BMTAS.configure({}, "bmtas"))
