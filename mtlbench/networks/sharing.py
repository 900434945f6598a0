"""The sharing graph: executes a sharing plan, running equal prefixes once.

It knows units (modules in a row) and a plan. Heads, losses and methods are none of its business.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from mtlbench.errors import UserError
from mtlbench.networks.batchnorm import PathStatistics
from mtlbench.networks.plan import Path, SharingPlan
from mtlbench.networks.residual import ResidualBlock, ShortcutOnly


@dataclass(frozen=True)
class Unit:
    """One depth of the graph.

    Attributes:
        name: as in the plan.
        make: makes one variant of the unit; called in ascending order of variants.
        output: whether the unit's output is one of the maps that heads read.
        laterals: earlier depths whose outputs, on the task's own path, are further inputs of the unit.
    """

    name: str
    make: Callable[[], nn.Module]
    output: bool = False
    laterals: tuple[int, ...] = ()


@dataclass
class _Flow:
    """Tasks that are on one path: their common feature map, and the earlier maps that are still needed."""

    tasks: tuple[str, ...]
    path: Path
    x: Tensor
    rows: Tensor | None
    kept: dict[int, Tensor] = field(default_factory=dict)


class SharingGraph(nn.Module):
    """Variants of units, wired by a plan.

    A variant that is reached on several paths sees inputs of several kinds: its weights are shared, and its BatchNorm
    keeps running statistics per path (`path_statistics=False` mixes them in one set, as AdaShare's official code does).

    Args:
        units: what the depths are; their names are the plan's depths.
        plan: which task runs what.
        path_statistics: keep BatchNorm's running statistics per path.
    """

    def __init__(self, units: Sequence[Unit], plan: SharingPlan, path_statistics: bool = True) -> None:
        super().__init__()
        if tuple(unit.name for unit in units) != plan.depths:
            raise ValueError(f"the plan's depths {plan.depths} are not the units' {tuple(unit.name for unit in units)}")
        self.units = tuple(units)
        self.plan = plan
        self.variants = nn.ModuleDict()
        for depth, unit in enumerate(units):
            for variant in plan.variants(depth):
                self.variants[f"{depth}_{variant}"] = unit.make()
            if None in plan.table[depth] and not plan.variants(depth):
                # Nobody executes the unit, but its projection (if it has one) is never gated and stays.
                block = unit.make()
                if not isinstance(block, ResidualBlock):
                    raise UserError(f"The plan skips {unit.name}, which has no shortcut: choose a ResNet as backbone.")
                self.variants[f"{depth}_skip"] = ShortcutOnly(block)
        self.statistics = PathStatistics(self._shared_by_paths() if path_statistics else {})
        self._last_use = self._last_uses()

    def module(self, depth: int, variant: int | None) -> nn.Module:
        """The module that an entry of the plan stands for. A skip uses the projection of the depth's first variant."""
        if variant is None:
            used = self.plan.variants(depth)
            return self.variants[f"{depth}_{used[0]}" if used else f"{depth}_skip"]
        return self.variants[f"{depth}_{variant}"]

    def owners(self) -> dict[str, frozenset[str]]:
        """Parameter name (within the graph) → the tasks whose predictions depend on it."""
        owners: dict[str, frozenset[str]] = {}
        for key, module in self.variants.items():
            depth = int(key.split("_")[0])
            for name, _ in module.named_parameters():
                tasks = {
                    task
                    for task, entry in zip(self.plan.tasks, self.plan.table[depth], strict=True)
                    if self.module(depth, entry) is module and (entry is not None or ".downsample." in f".{name}")
                }
                owners[f"variants.{key}.{name}"] = frozenset(tasks)
        return owners

    def forward(
        self,
        image: Tensor,
        tasks: Sequence[str] | None = None,
        rows: Mapping[str, Tensor] | None = None,
        gates: Mapping[str, Tensor] | None = None,
        gated: Sequence[int] = (),
    ) -> dict[str, list[Tensor]]:
        """Run the tasks' paths, each distinct prefix once.

        Args:
            image: normalised images [B, 3, H, W].
            tasks: which tasks to run; None for all.
            rows: the images each task is predicted on (ascending positions); None for all images.
            gates: relaxed decisions per task, [len(gated), 2] or, for decisions per image, [B, len(gated), 2]; column 0
                weighs the executed block and column 1 its shortcut.
            gated: the depths that the gates' rows belong to, ascending. A task's feature map is its own from the first.

        Returns:
            task → the outputs of the units marked `output`, in order.
        """
        tasks = self.plan.tasks if tasks is None else tuple(tasks)
        flows = self._split([_Flow(tasks, (), image, _union(rows, tasks))], 0, rows, start=True)
        for depth, unit in enumerate(self.units):
            if depth:
                flows = self._split(flows, depth, rows)
            if gates is not None and depth in gated:
                flows = [out for flow in flows for out in self._gate(flow, depth, rows, gates, list(gated).index(depth))]
            else:
                for flow in flows:
                    self._run(flow, depth)
            for flow in flows:
                if unit.output or depth in self._last_use:
                    flow.kept[depth] = flow.x
                for earlier in [d for d in flow.kept if self._last_use.get(d, depth) <= depth and not self.units[d].output]:
                    del flow.kept[earlier]
        outputs = [depth for depth, unit in enumerate(self.units) if unit.output]
        result = {}
        for flow in flows:
            for task in flow.tasks:
                maps = [flow.kept[depth] for depth in outputs]
                if rows is not None and flow.rows is not None and len(flow.rows) != len(rows[task]):
                    maps = [level[torch.searchsorted(flow.rows, rows[task])] for level in maps]
                result[task] = maps
        return {task: result[task] for task in tasks}

    def _run(self, flow: _Flow, depth: int) -> None:
        entry = flow.path[depth]
        module = self.module(depth, entry)
        with self.statistics.of(flow.path, module):
            if entry is None:
                flow.x = module.skip(flow.x)  # type: ignore[operator]
            else:
                flow.x = module(flow.x, *(flow.kept[lateral] for lateral in self.units[depth].laterals))

    def _gate(
        self, flow: _Flow, depth: int, rows: Mapping[str, Tensor] | None, gates: Mapping[str, Tensor], at: int
    ) -> list[_Flow]:
        """Both outcomes once for all tasks of the flow, then every task's own mixture of them."""
        block = self.module(depth, flow.path[depth])
        skipped, executed = block.parts(flow.x)  # type: ignore[operator]
        mixed = []
        for task in flow.tasks:
            own = _Flow((task,), flow.path, flow.x, flow.rows, dict(flow.kept))
            select, skip = (gates[task][..., at, column] for column in (0, 1))
            if select.ndim:
                select, skip = select.view(-1, 1, 1, 1), skip.view(-1, 1, 1, 1)
            own.x = select * executed + skip * skipped
            mixed.append(_narrow(own, rows))
        return mixed

    def _split(self, flows: list[_Flow], depth: int, rows: Mapping[str, Tensor] | None, start: bool = False) -> list[_Flow]:
        """Part the tasks whose entries differ at this depth."""
        parted = []
        for flow in flows:
            by_path: dict[Path, list[str]] = {}
            for task in flow.tasks:
                by_path.setdefault(self.plan.column(task)[: depth + 1], []).append(task)
            for path, tasks in by_path.items():
                part = _Flow(tuple(tasks), path, flow.x, flow.rows, dict(flow.kept))
                parted.append(_narrow(part, rows) if start or len(by_path) > 1 else part)
        return parted

    def _shared_by_paths(self) -> dict[Path, nn.Module]:
        """Paths that reach a module that another path has reached before: these get statistics of their own."""
        extra: dict[Path, nn.Module] = {}
        for depth in range(len(self.units)):
            seen: set[int] = set()
            for path in self.plan.groups(depth):
                module = self.module(depth, path[depth])
                if id(module) in seen:
                    extra[path] = module
                seen.add(id(module))
        return extra

    def _last_uses(self) -> dict[int, int]:
        """Lateral depth → the last depth that reads it, so that its map can be dropped afterwards."""
        return {lateral: depth for depth, unit in enumerate(self.units) for lateral in unit.laterals}


def _union(rows: Mapping[str, Tensor] | None, tasks: Sequence[str]) -> Tensor | None:
    if rows is None:
        return None
    return torch.unique(torch.cat([rows[task] for task in tasks]))


def _narrow(flow: _Flow, rows: Mapping[str, Tensor] | None) -> _Flow:
    """Keep only the images that the flow's tasks are predicted on."""
    if rows is None:
        return flow
    wanted = _union(rows, flow.tasks)
    assert wanted is not None
    if flow.rows is not None and len(wanted) != len(flow.x):
        at = torch.searchsorted(flow.rows, wanted) if len(flow.rows) == len(flow.x) else wanted
        flow.x = flow.x[at]
        flow.kept = {depth: kept[at] for depth, kept in flow.kept.items()}
    flow.rows = wanted
    return flow
