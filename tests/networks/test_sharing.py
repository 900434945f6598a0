"""The sharing graph: what it computes, and that it computes equal prefixes once."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import nn

from mtlbench.contract import SharingGraph, SharingPlan
from mtlbench.measure.cost import count_flops
from mtlbench.methods.hard_sharing import HardSharing
from mtlbench.networks.backbone import Backbone, BackboneSpec
from mtlbench.networks.batchnorm import PathStatistics, batch_norms, recompute
from tests.tiny import batch, build

TASKS = ("a", "b", "c")


@pytest.fixture(scope="module")
def network() -> HardSharing:
    return build(HardSharing)  # only for its building material


def graph(network: HardSharing, table: list[tuple[int | None, ...]] | None = None, **kwargs: bool) -> SharingGraph:
    units = network.block_units()
    names = tuple(unit.name for unit in units)
    plan = SharingPlan.shared(names, TASKS) if table is None else SharingPlan(names, TASKS, tuple(table))
    return SharingGraph(units, plan, **kwargs)


def table(depths: int = 9) -> list[tuple[int | None, ...]]:
    """a and b part at depth 3; c skips depth 2 and 7; b skips depth 8."""
    rows: list[tuple[int | None, ...]] = [(0, 0, 0) for _ in range(depths)]
    rows[2] = (0, 0, None)
    for depth in range(3, depths):
        rows[depth] = (0, 1, 0)
    rows[7] = (0, 1, None)
    rows[8] = (0, None, 0)
    return rows


def path_by_path(graph: SharingGraph, image: torch.Tensor, task: str) -> list[torch.Tensor]:
    """The definition: one task's units one after another."""
    x, maps = image, []
    for depth, entry in enumerate(graph.plan.column(task)):
        module = graph.module(depth, entry)
        skip: Callable[[torch.Tensor], torch.Tensor] = getattr(module, "skip", module)
        x = skip(x) if entry is None else module(x)
        if graph.units[depth].output:
            maps.append(x)
    return maps


@pytest.mark.parametrize("rows", [None, table()])
def test_every_task_gets_what_its_column_says(network: HardSharing, rows: list[tuple[int | None, ...]] | None) -> None:
    one = graph(network, rows).eval()
    image = batch().image
    for task, maps in one(image).items():
        for found, expected in zip(maps, path_by_path(one, image, task), strict=True):
            assert torch.equal(found, expected)


def test_all_shared_is_the_backbone(network: HardSharing) -> None:
    one, backbone, image = graph(network).eval(), network.new_backbone().eval(), batch().image
    for maps in one(image).values():
        assert all(torch.equal(found, expected) for found, expected in zip(maps, backbone(image), strict=True))


def test_all_skipped_is_the_chain_of_projections_without_relu(network: HardSharing) -> None:
    rows: list[tuple[int | None, ...]] = [(0, 0, 0)] + [(None, None, None)] * 8
    one, image = graph(network, rows).eval(), batch().image
    x = network.template.stem.eval()(image)
    for block in network.template.blocks:
        x = block.eval().shortcut(x)
    assert torch.equal(one(image)["a"][-1], x)
    assert (x < 0).any(), "a skipped projection must not pass a ReLU"
    assert not [name for name, _ in one.named_parameters() if "conv" in name], "unused blocks are in the network"


def test_flops_are_those_of_the_distinct_nodes(network: HardSharing) -> None:
    image = batch().image
    shared, rows = graph(network).eval(), table()
    whole = count_flops(lambda: shared(image))
    assert count_flops(lambda: network.template(image)) == whole, "hard sharing costs one backbone"
    private = graph(network, [(0, 1, 2)] * 9).eval()
    assert count_flops(lambda: private(image)) == 3 * whole
    mixed = graph(network, rows).eval()
    nodes = sum(len(mixed.plan.groups(depth)) for depth in range(9))
    alone = sum(count_flops(lambda task=task: mixed(image, [task])) for task in TASKS)  # type: ignore[misc]
    assert nodes < 27
    assert whole < count_flops(lambda: mixed(image)) < alone


def test_gradients_reach_exactly_the_owners(network: HardSharing) -> None:
    one = graph(network, table())
    owners, named = one.owners(), list(one.named_parameters())
    assert owners.keys() == dict(named).keys()
    output = one(batch().image)
    for task in TASKS:
        gradients = torch.autograd.grad(output[task][-1].sum(), [w for _, w in named], retain_graph=True, allow_unused=True)
        for (name, _), gradient in zip(named, gradients, strict=True):
            assert (gradient is not None) == (task in owners[name]), name


def test_gates_mix_executed_and_skipped(network: HardSharing) -> None:
    one, image = graph(network).eval(), batch().image
    gated = [6, 7, 8]
    keep, drop = torch.tensor([[1.0, 0.0]] * 3), torch.tensor([[0.0, 1.0]] * 3)
    half = torch.full((3, 2), 0.5)
    out = one(image, None, None, {"a": keep, "b": drop, "c": half}, gated)
    plain = one(image)
    skipping = graph(network, [(0, 0, 0)] * 6 + [(0, None, 0)] * 3).eval()
    skipping.load_state_dict(one.state_dict(), strict=False)
    torch.testing.assert_close(out["a"][-1], plain["a"][-1])
    torch.testing.assert_close(out["b"][-1], skipping(image)["b"][-1])
    assert not torch.allclose(out["c"][-1], out["a"][-1])


def test_gates_run_the_ungated_prefix_once(network: HardSharing) -> None:
    one, image = graph(network).eval(), batch().image
    gates = {task: torch.full((1, 2), 0.5) for task in TASKS}
    last_only = count_flops(lambda: one(image, None, None, gates, [8]))
    assert last_only == count_flops(lambda: one(image)), "both outcomes of the last block are computed once for all tasks"


def test_gates_of_single_images(network: HardSharing) -> None:
    one, image = graph(network).eval(), batch().image
    choice = torch.tensor([[[1.0, 0.0]], [[0.0, 1.0]], [[1.0, 0.0]], [[0.0, 1.0]]])
    whole = torch.tensor([[[1.0, 0.0]]]), torch.tensor([[[0.0, 1.0]]])
    mixed = one(image, ["a"], None, {"a": choice}, [5])["a"][-1]
    kept, dropped = (one(image, ["a"], None, {"a": gate.expand(4, 1, 2)}, [5])["a"][-1] for gate in whole)
    assert torch.equal(mixed[[0, 2]], kept[[0, 2]])
    assert torch.equal(mixed[[1, 3]], dropped[[1, 3]])


def test_every_path_through_a_shared_block_has_statistics_of_its_own(network: HardSharing) -> None:
    rows: list[tuple[int | None, ...]] = [(0, 0, 0)] * 9
    rows[1] = (0, None, 0)
    one, image = graph(network, rows), batch().image
    assert len(list(one.statistics.children())) == 8, (
        "b reaches depth 1 (its projection-free skip) to 8 on a path of its own"
    )
    recompute(one, one, [image])
    one.eval()
    trained = {task: maps[-1] for task, maps in one(image).items()}
    one.train()
    exact = {task: maps[-1] for task, maps in one(image).items()}
    for task in TASKS:
        # One batch: recomputed statistics are that batch's own, up to the unbiased variance.
        assert (trained[task] - exact[task]).abs().mean() < 0.1 * exact[task].abs().mean()
    mixed = graph(network, rows, path_statistics=False)
    assert not list(mixed.statistics.children())


def test_recomputed_statistics_do_not_depend_on_what_was_there(network: HardSharing) -> None:
    one, images = graph(network, table()), [batch(seed=seed).image for seed in range(3)]
    recompute(one, one, images)
    first = {name: value.clone() for name, value in one.state_dict().items()}
    for norm in batch_norms(one):
        norm.get_buffer("running_mean").fill_(7)
    momenta = [norm.momentum for norm in batch_norms(one)]
    recompute(one, one, images)
    assert all(torch.equal(first[name], value) for name, value in one.state_dict().items())
    assert momenta == [norm.momentum for norm in batch_norms(one)]
    assert one.training


def test_a_batch_without_images_for_a_layer_does_not_count_for_it() -> None:
    norm, images = nn.BatchNorm2d(3), [torch.randn(4, 3, 5, 5, generator=torch.Generator().manual_seed(7)) * 0.1]
    recompute(norm, norm, images)
    expected = {name: value.clone() for name, value in norm.state_dict().items()}
    none, one_value = torch.empty(0, 3, 5, 5), torch.ones(1, 3, 1, 1)
    recompute(norm, norm, [none, *images, none, one_value])
    assert all(torch.equal(expected[name], value) for name, value in norm.state_dict().items())
    assert norm.training and not norm._forward_pre_hooks


def test_statistics_of_a_path_leave_the_modules_own_alone() -> None:
    norm = nn.BatchNorm2d(2)
    statistics = PathStatistics({(0, 1): norm})
    with statistics.of((0, 1), norm):
        norm(torch.randn(4, 2, 3, 3) + 5)
    assert not norm.get_buffer("running_mean").any()
    assert statistics.get_buffer("path_0_1.running_mean_0").all()


def test_own_rows_are_narrowed_where_tasks_part(network: HardSharing) -> None:
    one, image = graph(network, table()).eval(), batch(count=6).image
    rows = {"a": torch.tensor([0, 2]), "b": torch.tensor([1, 2, 5]), "c": torch.tensor([3])}
    whole, own = one(image), one(image, None, rows)
    for task, index in rows.items():
        for found, expected in zip(own[task], whole[task], strict=True):
            torch.testing.assert_close(found, expected[index], rtol=1e-4, atol=1e-5)
    assert count_flops(lambda: one(image, None, rows)) < count_flops(lambda: one(image))


@pytest.mark.parametrize("convention", ["previous", "stage"])
@pytest.mark.parametrize("stride", [8, 16, 32])
@pytest.mark.parametrize("name", ["resnet_tiny", "resnet18", "resnet50"])
def test_backbone_has_the_output_stride_it_was_asked_for(name: str, stride: int, convention: str) -> None:
    backbone = Backbone(BackboneSpec(name, stride, convention)).eval()  # type: ignore[arg-type]
    maps = backbone(torch.rand(1, 3, 64, 64))
    assert [64 // one.shape[-1] for one in maps] == backbone.strides
    assert backbone.strides[-1] == stride
    assert [one.shape[1] for one in maps] == backbone.channels


@pytest.mark.parametrize(
    ("name", "parameters"), [("resnet18", 11_176_512), ("resnet34", 21_284_672), ("resnet50", 23_508_032)]
)
def test_torchvision_weights_fit_and_give_its_features(name: str, parameters: int) -> None:
    import torchvision

    from mtlbench.networks.backbone import load_torchvision

    theirs = getattr(torchvision.models, name)(weights=None).eval()
    ours = Backbone(BackboneSpec(name, output_stride=32)).eval()
    assert sum(one.numel() for one in ours.parameters()) == parameters
    load_torchvision(ours, theirs.state_dict())
    image = torch.rand(1, 3, 64, 64)
    x = theirs.maxpool(theirs.relu(theirs.bn1(theirs.conv1(image))))
    for layer, found in zip((theirs.layer1, theirs.layer2, theirs.layer3, theirs.layer4), ours(image), strict=True):
        x = layer(x)
        torch.testing.assert_close(found, x, rtol=1e-4, atol=1e-5)


def test_dilated_bottlenecks_follow_torchvision() -> None:
    import torchvision

    from mtlbench.networks.backbone import load_torchvision

    theirs = torchvision.models.resnet50(weights=None, replace_stride_with_dilation=[False, True, True]).eval()
    ours = Backbone(BackboneSpec("resnet50", output_stride=8)).eval()
    load_torchvision(ours, theirs.state_dict())
    image = torch.rand(1, 3, 64, 64)
    x = theirs.maxpool(theirs.relu(theirs.bn1(theirs.conv1(image))))
    x = theirs.layer4(theirs.layer3(theirs.layer2(theirs.layer1(x))))
    torch.testing.assert_close(ours(image)[-1], x, rtol=1e-4, atol=1e-5)
