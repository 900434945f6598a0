"""MTSL against numbers of the official code: similarity, grouping, alignment, amalgamation, hand-over, merged network.

Numbers of tasks, groups, channels, images and steps are those of the arrays (tests/golden/mtsl_*.npz).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from numpy.lib.npyio import NpzFile
from numpy.typing import NDArray
from torch import Tensor, nn

from mtlbench.contract import Batch, NetworkConfig, Unit
from mtlbench.methods._shared.partitions import Group as Members
from mtlbench.methods._shared.typed_modules import TypedModuleList
from mtlbench.methods.mtsl import MTSL
from mtlbench.methods.mtsl.amalgamation import Fusion, amalgamation_optimizer
from mtlbench.methods.mtsl.grouping import best_partition, cohesion, merging
from mtlbench.methods.mtsl.official_search import official_cover, subsets_in_order
from mtlbench.methods.mtsl.phases import Structure
from mtlbench.methods.mtsl.similarity import alignment_loss, cka
from mtlbench.methods.mtsl.task_tree import Group, merged
from mtlbench.networks.backbone import BackboneSpec
from mtlbench.networks.heads import HeadSpec
from mtlbench.tasks import Segmentation
from tests.methods.mtsl_network import run_of, strategy
from tests.tiny_methods import GOLDEN, SMALLEST, graph_of

GROUPS = np.load(GOLDEN / "mtsl_cka_grouping.npz")
FILE = np.load(GOLDEN / "mtsl_amalgamation.npz")

EXACT = 1e-8
"""Absolute and relative tolerance in double precision."""


def tensor(key: str, file: NpzFile = FILE) -> Tensor:
    return torch.from_numpy(np.array(file[key]))


def close(values: Tensor | None, expected: Tensor, tolerance: float = EXACT) -> None:
    assert values is not None
    torch.testing.assert_close(values.detach(), expected, rtol=tolerance, atol=tolerance)


def names_under(prefix: str, file: NpzFile = FILE) -> list[str]:
    """The next parts of the names that begin with a prefix, each once."""
    return sorted({key.removeprefix(prefix).split("/")[0] for key in file.files if key.startswith(prefix)})


# -- similarity and grouping ------------------------------------------------------------------------------------------


CKA_CASES = [case for case in names_under("cka/", GROUPS) if f"cka/{case}/debiased_feature_form" in GROUPS.files]


@pytest.mark.parametrize("case", CKA_CASES)
def test_cka(case: str) -> None:
    features, expected = tensor(f"cka/{case}/x", GROUPS), tensor(f"cka/{case}/debiased", GROUPS)
    close(cka(list(features)), expected, 1e-7)
    close(cka(list(features.float())), expected.float(), 1e-4)


def test_cka_of_different_widths_and_degenerate_features() -> None:
    x, y, expected = (tensor(f"cka/e_channels/{key}", GROUPS) for key in ("x", "y", "debiased"))
    close(cka([x, y])[0, 1], expected, 1e-7)
    for case in names_under("cka/degenerate/", GROUPS):
        features = list(tensor(f"cka/degenerate/{case}/x", GROUPS))
        assert cka(features).equal(torch.eye(len(features), dtype=torch.float64))


def test_alignment_loss_and_gradient() -> None:
    features = tensor("align/features", GROUPS).requires_grad_()
    loss = float(GROUPS["align/weight"]) * alignment_loss(list(features.mean((3, 4))))
    close(loss, tensor("align/loss", GROUPS))
    loss.backward()
    close(features.grad, tensor("align/grad", GROUPS))


THRESHOLD = float(GROUPS["group/threshold"])
COUNTS = [int(name.removeprefix("T")) for name in names_under("group/", GROUPS) if name.startswith("T")]
OFFICIAL = [count for count in COUNTS if f"group/T{count}/official_value" in GROUPS.files and count <= 5]
"""Numbers of tasks that the official search is feasible for."""


@dataclass(frozen=True)
class Case:
    """One stored similarity matrix.

    Attributes:
        count, number: of tasks, and of the case among those with so many tasks.
        similarity: [T, T].
    """

    count: int
    number: int
    similarity: Tensor

    def stored(self, key: str) -> NDArray[Any]:
        """An array's entry for the case."""
        array: NDArray[Any] = GROUPS[f"group/T{self.count}/{key}"][self.number]
        return array


def cases(count: int) -> list[Case]:
    """All stored cases of so many tasks."""
    return [Case(count, *numbered) for numbered in enumerate(tensor(f"group/T{count}/similarity", GROUPS))]


def labels(count: int, groups: Sequence[Members]) -> list[int]:
    """Each task's group number; −1 where it is in none."""
    label = [-1] * count
    for number, group in enumerate(groups):
        for task in group:
            label[task] = number
    return label


@pytest.mark.parametrize("count", COUNTS)
def test_grouping_is_the_exhaustive_result(count: int) -> None:
    for case in cases(count):
        chosen = best_partition(case.similarity, THRESHOLD)
        value = sum(len(group) * cohesion(case.similarity, group) for group in chosen) / count
        assert value == pytest.approx(float(case.stored("exhaustive_value")), abs=1e-9)
        assert case.stored("exhaustive_tie") or labels(count, chosen) == case.stored("exhaustive_label").tolist()
        assert labels(count, merging(case.similarity, THRESHOLD)) == case.stored("exhaustive_merged_label").tolist()


@pytest.mark.parametrize("count", OFFICIAL)
def test_official_search(count: int) -> None:
    """Every stored case, those in which the official search misses the best partition among them."""
    for case in cases(count):
        cover = official_cover(case.similarity, THRESHOLD)
        membership = case.stored("official_subset_membership")
        assert cover.groups == sorted(tuple(np.flatnonzero(row).tolist()) for row in membership if row.any())
        assert cover.score == pytest.approx(float(case.stored("official_value")), abs=1e-12)
        official = merging(case.similarity, THRESHOLD, strict_official=True)
        assert labels(count, official) == case.stored("official_merged_label").tolist()
        ours = merging(case.similarity, THRESHOLD)
        assert (labels(count, ours) != labels(count, official)) == bool(case.stored("merge_differs"))


def test_some_stored_cases_tell_the_searches_apart() -> None:
    assert any(bool(GROUPS[f"group/T{count}/merge_differs"].any()) for count in OFFICIAL)


def test_the_official_order_of_subsets() -> None:
    assert list(subsets_in_order(range(3))) == [(0, 1), (0, 1, 2), (0, 2), (0,), (1, 2), (1,), (2,)]
    assert sorted(subsets_in_order(range(4))) == sorted(set(subsets_in_order(range(4))))
    assert len(list(subsets_in_order(range(5)))) == 2**5 - 1


def test_the_official_search_visits_equal_covers_in_its_order() -> None:
    """All pairs are alike, so that all covers without single tasks have one value, and the first one visited wins."""
    alike = torch.full((4, 4), 0.5, dtype=torch.float64).fill_diagonal_(1.0)
    # Below the threshold the search goes on to m = 2, whose first cover is (0, 1), (2, 3); that of m = 3 overlaps.
    assert official_cover(alike, 0.8).groups == [(0, 1), (2, 3)]
    assert official_cover(alike, 0.4).groups == [(0, 1, 2, 3)]


# -- amalgamation -----------------------------------------------------------------------------------------------------


LAYERS = {"w1": "0.weight", "b1": "0.bias", "w2": "2.weight", "b2": "2.bias"}
"""Stored names of a gate's parameters → ours."""


@pytest.mark.parametrize("case", names_under("loss/"))
def test_amalgamation_loss(case: str) -> None:
    teachers, student = tensor(f"loss/{case}/teacher_features"), tensor(f"loss/{case}/student_features").requires_grad_()
    fusion = Fusion(nn.Identity(), len(teachers), student.shape[1]).double()
    for number, gate in enumerate(fusion.gates):
        gate.load_state_dict({ours: tensor(f"loss/{case}/gate{number}/{theirs}") for theirs, ours in LAYERS.items()})
    loss = fusion.loss(student, list(teachers))
    close(loss, tensor(f"loss/{case}/loss"))
    loss.backward()
    close(student.grad, tensor(f"loss/{case}/grad_student"))
    for number, gate in enumerate(fusion.gates):
        for theirs, ours in LAYERS.items():
            close(gate.get_parameter(ours).grad, tensor(f"loss/{case}/gate{number}/grad_{theirs}"))


# -- the network that merges ------------------------------------------------------------------------------------------

TASKS, MEMBERS = ([str(name) for name in FILE[f"fuse/{key}"]] for key in ("tasks", "group"))
ALL, GROUP = "|".join(TASKS), "|".join(MEMBERS)
UNIT = 1
"""The unit that merges: the stem is shared already."""


def weight_of(unit: str) -> Tensor:
    """A stored weight of the old model."""
    return tensor(f"fuse/old/{unit}.weight")


FIRST = TASKS[0]


class Decoder(nn.Module):
    """Up-sample to the skip's size, concatenate, 1×1 convolution, BatchNorm, ReLU."""

    def __init__(self) -> None:
        super().__init__()
        out_channels, in_channels, *_ = weight_of(f"{FIRST}.de_stage_3.conv").shape
        self.conv, self.bn = nn.Conv2d(in_channels, out_channels, 1, bias=False), nn.BatchNorm2d(out_channels)

    def forward(self, x: Tensor, skip: Tensor) -> Tensor:
        x = F.interpolate(x, skip.shape[-2:], mode="bilinear", align_corners=False)
        return F.relu(self.bn(self.conv(torch.cat([x, skip], 1))))


class Head(nn.Module):
    """A 1×1 convolution of the last map."""

    def __init__(self) -> None:
        super().__init__()
        out_channels, in_channels, *_ = weight_of(f"{FIRST}_head.{FIRST}_head.conv").shape
        self.conv = nn.Conv2d(in_channels, out_channels, 1)

    def forward(self, maps: list[Tensor]) -> Tensor:
        logits: Tensor = self.conv(maps[-1])
        return logits


def layers(unit: str, stride: int = 1) -> nn.Sequential:
    """Convolutions with BatchNorm as stored, with a ReLU between them, and after the last if it is the only one."""
    modules: list[nn.Module] = []
    prefix = f"fuse/old/{unit}."
    for key in (key for key in FILE.files if key.startswith(prefix) and FILE[key].ndim == 4):
        out_channels, in_channels, size, _ = FILE[key].shape
        convolution = nn.Conv2d(in_channels, out_channels, size, stride, size // 2, bias=False)
        modules += [convolution, nn.BatchNorm2d(out_channels), nn.ReLU()]
    return nn.Sequential(*(modules if len(modules) == 3 else modules[:-1]))


class GoldenMTSL(MTSL):
    """The golden file's network."""

    def stage_units(self) -> list[Unit]:
        return [
            Unit("stem", lambda: layers(f"{ALL}.en_stem_0", stride=2)),
            Unit("stage1", lambda: layers(f"{FIRST}.en_stage_1")),
            Unit("stage2", lambda: layers(f"{FIRST}.en_stage_2", stride=2)),
            Unit("decoder", Decoder, output=True, laterals=(UNIT,)),
        ]

    def build(self) -> None:
        super().build()
        self.heads = nn.ModuleDict({name: Head() for name in self.tasks})


def ours(name: str) -> str:
    """The golden file's parameter name in our network: `t0|t2.en_stage_1.0.weight` → `graph.variants.1_0.0.weight`."""
    tasks, unit, rest = name.split(".", 2)
    if unit.endswith("_head"):
        return f"heads.{tasks.removesuffix('_head')}.{rest}"
    return f"graph.variants.{unit.rsplit('_', 1)[1]}_{TASKS.index(tasks.split('|')[0])}.{rest}"


def values(prefix: str) -> dict[str, Tensor]:
    """Everything under a prefix, by our names."""
    return {ours(key[len(prefix) + 1 :]): tensor(key) for key in FILE.files if key.startswith(f"{prefix}/")}


def adam(prefix: str) -> dict[str, dict[str, Tensor]]:
    """Adam states by our parameter names."""
    states: dict[str, dict[str, Tensor]] = {}
    for key in (key for key in FILE.files if key.startswith(f"{prefix}/")):
        name, kind = key[len(prefix) + 1 :].rsplit("/", 1)
        states.setdefault(ours(name), {})[kind] = tensor(key)
    return states


def structural_phase(transfer: str = "amalgamation") -> tuple[GoldenMTSL, Structure]:
    """The golden network with its shared stem, and the structural phase that merges a unit of some of the tasks."""
    height, width = FILE["tree/x"].shape[-2:]
    config = NetworkConfig(
        tasks=tuple(Segmentation(name, len(weight_of(f"{name}_head.{name}_head.conv"))) for name in TASKS),
        image_size=(height, width),
        backbone=BackboneSpec(SMALLEST),
        head=HeadSpec(rates=(1,), width=4),
        mean=(0.0, 0.0, 0.0),
        std=(1.0, 1.0, 1.0),
        seed=0,
    )
    network = GoldenMTSL(config, MTSL.configure({"transfer": transfer}, "mtsl"))
    network.tree.rewire(merged(network.plan(), 0, TASKS), {})
    network.double()
    missing = network.load_state_dict(values("fuse/old"), strict=False)
    assert not missing.unexpected_keys and all("num_batches" in name for name in missing.missing_keys)
    lr, beta1, _, _, decay = FILE["fuse/adam"].tolist()
    run = run_of(lr=lr, momentum=beta1, weight_decay=decay, schedule="constant")
    phase = Structure(
        network.tree, network.aligner, UNIT, strategy(network, run), (0.0, 1.0), 1.0, [1.0] * len(network.units)
    )
    network.tree.pending = [Group(UNIT, MEMBERS)]
    network.tree.prepare_fusion(network.tree.pending[0], new_student()[LAST_LAYER].shape[0])
    network.double()
    phase.prepare()
    return network, phase


def new_student() -> dict[str, Tensor]:
    """The new unit before amalgamation."""
    prefix = f"fuse/new_before/{GROUP}.en_stage_{UNIT}."
    return {key.removeprefix(prefix): tensor(key) for key in FILE.files if key.startswith(prefix)}


LAST_LAYER = [name for name, value in new_student().items() if value.ndim == 4][-1]


def gate_parameters(gates: TypedModuleList[nn.Sequential], moment: str) -> list[tuple[nn.Parameter, Tensor]]:
    """The gates' parameters, each with its stored value "before" or "after" amalgamation."""
    pairs = []
    for name in names_under(f"fuse/gates_{moment}/"):
        number, _, rest = name.partition(".")
        pairs.append((gates[int(number)].get_parameter(rest), tensor(f"fuse/gates_{moment}/{name}")))
    return pairs


def test_trajectory_of_amalgamation_and_nothing_else_moves() -> None:
    network, phase = structural_phase()
    fusion = network.tree.fusion(network.tree.pending[0])
    fusion.unit.load_state_dict(new_student(), strict=False)
    for parameter, stored in gate_parameters(fusion.gates, "before"):
        parameter.data = stored
    phase.fusing = amalgamation_optimizer(list(fusion.parameters()), float(FILE["fuse/adam"][0]))
    network.eval()
    for task in TASKS:
        close(network(tensor("tree/x"))[task], tensor(f"tree/old_out/{task}"))
    untouched = nn.ModuleList([graph_of(network), network.heads])
    before = {name: value.clone() for name, value in untouched.state_dict().items()}
    step = 0
    for _ in range(int(FILE["fuse/epochs"])):
        for image in tensor("fuse/batches"):
            phase.amalgamate(Batch(image, {}, {}, torch.arange(len(image))))
            state = fusion.unit.state_dict()
            for name in names_under("fuse/student_after_iter/"):
                close(state[name], tensor(f"fuse/student_after_iter/{name}")[step])
            step += 1
    close(torch.stack(phase.amalgamated), tensor("fuse/losses"))
    for parameter, stored in gate_parameters(fusion.gates, "after"):
        close(parameter, stored)
    after = untouched.state_dict()
    assert all(after[name].equal(value) for name, value in before.items())
    phase.merge()
    for name, value in values("fuse/new_after").items():
        close(network.state_dict()[name], value)
    network.eval()
    for task in TASKS:
        close(network(tensor("tree/x"))[task], tensor(f"tree/new_out/{task}"))


def test_hand_over_of_the_optimizer() -> None:
    network, phase = structural_phase()
    fusion = {id(parameter) for parameter in network.tree.fusions.parameters()}
    parameters = {name: parameter for name, parameter in network.named_parameters() if id(parameter) not in fusion}
    optimizer = phase.strategy.optimizers["weights"]
    before = adam("fuse/opt_before")
    assert set(before) == set(parameters)
    for name, state in before.items():
        optimizer.state[parameters[name]] = {**state, "step": state["step"].float()}
    phase.merge()
    optimizer = phase.strategy.optimizers["weights"]
    after = {name: optimizer.state[parameter] for name, parameter in network.named_parameters()}
    official = adam("fuse/opt_after")
    lost = {ours(str(name)) for name in FILE["fuse/opt_after_param_without_state"]}
    assert lost.isdisjoint(official) and lost | set(official) == set(after)
    for name, state in after.items():
        # Where the official code loses a state, ours is that of before.
        expected = official.get(name, before[name])
        for key in ("exp_avg", "exp_avg_sq"):
            close(state[key], expected[key])
        close(state["step"].double(), expected["step"], 1e-6)  # torch counts steps in single precision


def test_average() -> None:
    network, _ = structural_phase("average")
    network.tree.merge({})
    state = network.state_dict()
    prefix = f"graph.variants.{UNIT}_{TASKS.index(MEMBERS[0])}."
    for name in names_under("average/new_after/"):
        rest = name.rpartition(f"en_stage_{UNIT}.")[2]
        mean = torch.stack([tensor(f"fuse/old/{task}.en_stage_{UNIT}.{rest}") for task in MEMBERS]).mean(0)
        close(state[prefix + rest], mean)
        if "running" not in rest:  # the official code leaves the running statistics at their start
            close(state[prefix + rest], tensor(f"average/new_after/{name}"))


@pytest.mark.parametrize(("dtype", "offset"), [(torch.float64, 1e4), (torch.float32, 1e3)])
def test_cka_does_not_see_a_common_offset(dtype: torch.dtype, offset: float) -> None:
    draw = torch.Generator().manual_seed(0)
    features = torch.randn(40, 6, generator=draw, dtype=torch.float64)
    turn = torch.linalg.qr(torch.randn(6, 6, generator=draw, dtype=torch.float64)).Q
    moved = [(features + offset).to(dtype), (features @ turn + offset).to(dtype)]
    assert float(cka(moved)[0, 1]) == pytest.approx(1, abs=1e-3)
    constant = torch.full((40, 6), offset, dtype=dtype)
    assert float(cka([constant, moved[0]])[0, 1]) == 0
