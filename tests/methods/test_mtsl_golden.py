"""MTSL against numbers of the official code: similarity, grouping, alignment, amalgamation, hand-over, merged network."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mtlbench.contract import Batch, NetworkConfig, Unit
from mtlbench.methods._mtsl_phases import Structure, amalgamation_optimizer
from mtlbench.methods._shared_tree import merged
from mtlbench.methods._task_grouping import best_partition, cka, cohesion, merging, official_cover
from mtlbench.methods.mtsl import MTSL, Fusion, Group, alignment_loss
from mtlbench.networks.backbone import BackboneSpec
from mtlbench.networks.heads import HeadSpec
from mtlbench.tasks import Segmentation
from tests.methods.mtsl_toys import make_run, strategy

GOLDEN = Path(__file__).parents[1] / "golden"
GROUPS = np.load(GOLDEN / "mtsl_cka_grouping.npz")
FILE = np.load(GOLDEN / "mtsl_amalgamation.npz")
TASKS, MEMBERS = ["t0", "t1", "t2"], ["t0", "t2"]


def tensor(key: str, file: Any = FILE) -> Tensor:
    return torch.from_numpy(np.array(file[key]))


def close(found: Tensor, expected: Tensor, tolerance: float = 1e-8) -> None:
    torch.testing.assert_close(found, expected, rtol=tolerance, atol=tolerance)


# -- similarity and grouping ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("case", ["a_relu16", "b_wide", "c_min", "d_invariance"])
def test_cka(case: str) -> None:
    close(cka(list(tensor(f"cka/{case}/x", GROUPS))), tensor(f"cka/{case}/debiased", GROUPS), 1e-7)
    single = cka(list(tensor(f"cka/{case}/x", GROUPS).float()))
    close(single, tensor(f"cka/{case}/debiased", GROUPS).float(), 1e-4)


def test_cka_of_different_widths_and_degenerate_features() -> None:
    x, y, expected = (tensor(f"cka/e_channels/{key}", GROUPS) for key in ("x", "y", "debiased"))
    close(cka([x, y])[0, 1], expected, 1e-7)
    for case in ("n2", "n3", "constant", "n3_int"):
        assert cka(list(tensor(f"cka/degenerate/{case}/x", GROUPS))).equal(torch.eye(2, dtype=torch.float64))


def test_alignment_loss_and_gradient() -> None:
    features = tensor("align/features", GROUPS).requires_grad_()
    loss = float(GROUPS["align/weight"]) * alignment_loss(list(features.mean((3, 4))))
    close(loss, tensor("align/loss", GROUPS))
    loss.backward()
    assert features.grad is not None
    close(features.grad, tensor("align/grad", GROUPS))


def labels(count: int, groups: list[tuple[int, ...]]) -> list[int]:
    found = [-1] * count
    for number, group in enumerate(groups):
        for task in group:
            found[task] = number
    return found


@pytest.mark.parametrize("count", [2, 3, 4, 5, 6])
def test_grouping_is_the_exhaustive_result(count: int) -> None:
    threshold = float(GROUPS["group/threshold"])
    for number, similarity in enumerate(tensor(f"group/T{count}/similarity", GROUPS)):
        expected = {
            key: GROUPS[f"group/T{count}/exhaustive_{key}"][number] for key in ("label", "value", "merged_label", "tie")
        }
        chosen = best_partition(similarity, threshold)
        value = sum(len(group) * cohesion(similarity, group) for group in chosen) / count
        assert value == pytest.approx(float(expected["value"]), abs=1e-9)
        assert expected["tie"] or labels(count, chosen) == expected["label"].tolist()
        assert labels(count, merging(similarity, threshold)) == expected["merged_label"].tolist()


@pytest.mark.parametrize("count", [2, 3, 4])
def test_official_search(count: int) -> None:
    check_official(count, range(len(GROUPS[f"group/T{count}/kind"])))


def test_official_search_misses_partitions_of_five_tasks() -> None:
    check_official(5, np.flatnonzero(GROUPS["group/T5/selection_differs"])[:2])


def check_official(count: int, cases: Any) -> None:
    threshold = float(GROUPS["group/threshold"])
    for number in cases:
        similarity = tensor(f"group/T{count}/similarity", GROUPS)[number]
        members = [tuple(np.flatnonzero(row)) for row in GROUPS[f"group/T{count}/official_subset_membership"][number]]
        assert official_cover(similarity, threshold) == sorted(group for group in members if group)
        expected = GROUPS[f"group/T{count}/official_merged_label"][number].tolist()
        assert labels(count, merging(similarity, threshold, strict_official=True)) == expected


# -- amalgamation -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("case", ["2teachers", "3teachers"])
def test_amalgamation_loss(case: str) -> None:
    teachers, student = tensor(f"loss/{case}/teacher_features"), tensor(f"loss/{case}/student_features").requires_grad_()
    fusion = Fusion(nn.Identity(), len(teachers), student.shape[1]).double()
    weights = {"w1": "0.weight", "b1": "0.bias", "w2": "2.weight", "b2": "2.bias"}
    for number, gate in enumerate(fusion.gates):
        gate.load_state_dict({ours: tensor(f"loss/{case}/gate{number}/{theirs}") for theirs, ours in weights.items()})
    loss = fusion.loss(student, list(teachers))
    close(loss, tensor(f"loss/{case}/loss"))
    loss.backward()
    assert student.grad is not None
    close(student.grad, tensor(f"loss/{case}/grad_student"))
    for number, gate in enumerate(fusion.gates):
        for theirs, ours in weights.items():
            close(gate.get_parameter(ours).grad, tensor(f"loss/{case}/gate{number}/grad_{theirs}"))  # type: ignore[arg-type]


class Decoder(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv, self.bn = nn.Conv2d(14, 5, 1, bias=False), nn.BatchNorm2d(5)

    def forward(self, x: Tensor, skip: Tensor) -> Tensor:
        x = F.interpolate(x, skip.shape[-2:], mode="bilinear", align_corners=False)
        return F.relu(self.bn(self.conv(torch.cat([x, skip], 1))))


class Head(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(5, 2, 1)

    def forward(self, maps: list[Tensor]) -> Tensor:
        return self.conv(maps[-1])


def layers(*sizes: tuple[int, int, int]) -> nn.Sequential:
    """Convolution and BatchNorm for every (in, out, stride), a ReLU after each that is followed by something."""
    found: list[nn.Module] = []
    for inside, outside, stride in sizes:
        found += [nn.Conv2d(inside, outside, 3, stride, 1, bias=False), nn.BatchNorm2d(outside), nn.ReLU()]
    return nn.Sequential(*(found if len(sizes) == 1 else found[:-1]))


class Toy(MTSL):
    """The golden file's network."""

    def stage_units(self) -> list[Unit]:
        return [
            Unit("stem", lambda: layers((3, 4, 2))),
            Unit("stage1", lambda: layers((4, 6, 1), (6, 6, 1))),
            Unit("stage2", lambda: layers((6, 8, 2))),
            Unit("decoder", Decoder, output=True, laterals=(1,)),
        ]

    def build(self) -> None:
        super().build()
        self.heads = nn.ModuleDict({name: Head() for name in self.tasks})


def ours(name: str) -> str:
    """The golden file's parameter name in our network: `t0|t2.en_stage_1.0.weight` → `graph.variants.1_0.0.weight`."""
    tasks, unit, rest = name.split(".", 2)
    if unit.endswith("_head"):
        return f"heads.{tasks.removesuffix('_head')}.{rest}"
    return f"graph.variants.{unit.rsplit('_', 1)[1]}_{tasks[1]}.{rest}"


def values(prefix: str) -> dict[str, Tensor]:
    """Everything under a prefix, by our names."""
    return {ours(key[len(prefix) + 1 :]): tensor(key) for key in FILE.files if key.startswith(f"{prefix}/")}


def adam(prefix: str) -> dict[str, dict[str, Tensor]]:
    """Adam states by our parameter names."""
    found: dict[str, dict[str, Tensor]] = {}
    for key in (key for key in FILE.files if key.startswith(f"{prefix}/")):
        name, kind = key[len(prefix) + 1 :].rsplit("/", 1)
        found.setdefault(ours(name), {})[kind] = tensor(key)
    return found


def phase(transfer: str = "amalgamation") -> tuple[Toy, Structure]:
    """The golden network with its shared stem, and the structural phase that merges stage 1 of two tasks."""
    network_config = NetworkConfig(
        tasks=tuple(Segmentation(name, 2) for name in TASKS),
        image_size=(12, 16),
        backbone=BackboneSpec("resnet_toy"),
        head=HeadSpec(rates=(1,), width=4),
        mean=(0.0, 0.0, 0.0),
        std=(1.0, 1.0, 1.0),
        seed=0,
    )
    network = Toy(network_config, MTSL.configure({"transfer": transfer}, "mtsl"))
    network.rewire(merged(network.plan(), 0, TASKS), {})
    network.double()
    missing = network.load_state_dict(values("fuse/old"), strict=False)
    assert not missing.unexpected_keys and all("num_batches" in name for name in missing.missing_keys)
    lr, beta1, _, _, decay = FILE["fuse/adam"].tolist()
    run = make_run(lr=lr, momentum=beta1, weight_decay=decay, schedule="constant")
    one = Structure(network, 1, strategy(network, run), (0.0, 1.0), 1.0, [1.0] * 4)
    network.pending = [Group(1, MEMBERS)]
    network.fusions["1_0"] = network.fusion(network.pending[0], 6).double()
    one.prepare()
    return network, one


def test_trajectory_of_amalgamation_and_what_it_leaves_alone() -> None:
    network, one = phase()
    fusion = network.fusions["1_0"]
    student = {name.removeprefix("graph.variants.1_0."): value for name, value in values("fuse/new_before").items()
               if name.startswith("graph.variants.1_0.")}  # fmt: skip
    fusion.unit.load_state_dict(student, strict=False)
    for name in [key for key in FILE.files if key.startswith("fuse/gates_before/")]:
        gate, _, rest = name.rpartition("/")[2].partition(".")
        fusion.gates[int(gate)].get_parameter(rest).data = tensor(name)
    one.fusing = amalgamation_optimizer(list(fusion.parameters()), float(FILE["fuse/adam"][0]))
    network.eval()
    for task in TASKS:
        close(network(tensor("tree/x"))[task], tensor(f"tree/old_out/{task}"))
    before = {name: value.clone() for name, value in network.state_dict().items() if not name.startswith("fusions")}
    step = 0
    for _ in range(int(FILE["fuse/epochs"])):
        for image in tensor("fuse/batches"):
            one.amalgamate(Batch(image, {}, {}, torch.arange(len(image))))
            for name, value in fusion.unit.state_dict().items():
                if f"fuse/student_after_iter/{name}" in FILE.files:
                    close(value, tensor(f"fuse/student_after_iter/{name}")[step])
            step += 1
    close(torch.stack(one.amalgamated), tensor("fuse/losses"))
    for name in [key for key in FILE.files if key.startswith("fuse/gates_after/")]:
        gate, _, rest = name.rpartition("/")[2].partition(".")
        close(fusion.gates[int(gate)].get_parameter(rest).data, tensor(name))
    after = network.state_dict()
    assert all(after[name].equal(value) for name, value in before.items())
    one.merge()
    for name, value in values("fuse/new_after").items():
        close(network.state_dict()[name], value)
    network.eval()
    for task in TASKS:
        close(network(tensor("tree/x"))[task], tensor(f"tree/new_out/{task}"))


def test_hand_over_of_the_optimizer() -> None:
    network, one = phase()
    names = {name: parameter for name, parameter in network.named_parameters() if not name.startswith("fusions")}
    optimizer = one.strategy.optimizers["weights"]
    before = adam("fuse/opt_before")
    assert set(before) == set(names)
    for name, state in before.items():
        optimizer.state[names[name]] = {**state, "step": state["step"].float()}
    one.merge()
    optimizer = one.strategy.optimizers["weights"]
    found = {name: optimizer.state[parameter] for name, parameter in network.named_parameters()}
    official = adam("fuse/opt_after")
    lost = {ours(str(name)) for name in FILE["fuse/opt_after_param_without_state"]}
    assert lost.isdisjoint(official) and lost | set(official) == set(found)
    for name, state in found.items():
        # What the official code loses is what was there before.
        expected = official.get(name, before[name])
        for key in ("step", "exp_avg", "exp_avg_sq"):
            close(state[key].double(), expected[key])


def test_average() -> None:
    network, _ = phase("average")
    network.merge({})
    state = network.state_dict()
    for key in (key for key in FILE.files if key.startswith("average/new_after/")):
        name = key.rpartition("en_stage_1.")[2]
        mean = torch.stack([tensor(f"fuse/old/{task}.en_stage_1.{name}") for task in MEMBERS]).mean(0)
        close(state[f"graph.variants.1_0.{name}"], mean)
        if "running" not in name:  # the official code leaves the running statistics at their start
            close(state[f"graph.variants.1_0.{name}"], tensor(key))


@pytest.mark.parametrize(("dtype", "offset"), [(torch.float64, 1e4), (torch.float32, 1e3)])
def test_cka_does_not_see_a_common_offset(dtype: torch.dtype, offset: float) -> None:
    draw = torch.Generator().manual_seed(0)
    features = torch.randn(40, 6, generator=draw, dtype=torch.float64)
    turn = torch.linalg.qr(torch.randn(6, 6, generator=draw, dtype=torch.float64)).Q
    moved = [(features + offset).to(dtype), (features @ turn + offset).to(dtype)]
    assert float(cka(moved)[0, 1]) == pytest.approx(1, abs=1e-3)
    constant = torch.full((40, 6), offset, dtype=dtype)
    assert float(cka([constant, moved[0]])[0, 1]) == 0
