"""One record, printed for a person."""

from __future__ import annotations

from rich.console import Group, RenderableType
from rich.table import Table as Grid
from rich.text import Text

from mtlbench.leaderboard import protocols
from mtlbench.leaderboard.number_format import short
from mtlbench.leaderboard.plan_plot import LETTERS
from mtlbench.records import Evaluation, Plan, Record, TaskInfo


def show(record: Record) -> RenderableType:
    """The method, its metrics and costs, and where the record comes from; for `rich.print`."""
    result, source = record.result, record.provenance
    title = Text(f"{record.row} on {record.dataset}, seed {record.seed}", style="bold")
    changed = protocols.as_text(record.changed) if record.changed else "all hyper-parameters at their defaults"
    facts = {
        "record": record.id,
        "method": record.method + (" (reference of Δ)" if record.reference else ""),
        "changed": changed,
        "protocol": record.protocol_id,
        "selected": ", ".join(f"epoch {epoch} of {part}" for part, epoch in sorted(result.selected.items())),
        **({"auxiliary tasks": f"{', '.join(record.auxiliary)} (trained, not scored)"} if record.auxiliary else {}),
        "mean skill": f"val {result.val.mean_skill:.3f}, test {result.test.mean_skill:.3f}",
        **_costs(record),
        **{name: f"{value:g}" for name, value in sorted(result.extra.items())},
        "created": f"{source.created}, mtlbench {source.mtlbench}, {protocols.as_text(source.versions)}",
        "machine": protocols.as_text(source.machine),
    }
    parts: list[RenderableType] = [title, _facts(facts), Text(""), _metrics(record.tasks, result.val, result.test)]
    if result.shifted:
        shifted = {name: f"mean skill {evaluation.mean_skill:.3f}" for name, evaluation in sorted(result.shifted.items())}
        parts += [Text("\nShifted test sets", style="bold"), _facts(shifted)]
    if result.robustness is not None and result.robustness.summary:
        summary = {name: f"{number:.3f}" for name, number in result.robustness.summary.items()}
        worst = {"worst corruption": result.robustness.worst} if result.robustness.worst is not None else {}
        parts += [Text("\nRobustness", style="bold"), _facts(summary | worst)]
    if result.plan is not None:
        parts += [Text("\nSharing plan (equal letters share weights, · is skipped)", style="bold"), _plan(result.plan)]
    parts += [
        Text("\nProtocol", style="bold"),
        _facts({k: protocols.as_text(v) for k, v in protocols.flatten(record.protocol).items()}),
    ]
    return Group(*parts)


def _costs(record: Record) -> dict[str, str]:
    cost, measured = record.result.cost, record.measured
    size = f"{short(cost.parameters.get('total', 0), 'count')} ({short(cost.parameters.get('shared', 0), 'count')} shared)"
    facts = {
        "parameters": size,
        "FLOPs": f"{short(cost.flops.get('all', 0), 'flop')} per image, all tasks",
        "training": f"{cost.images:,} images per task, {cost.updates:,} updates, {short(cost.training_flops, 'flop')} FLOPs",
        "time": f"{measured.training_seconds:.0f} s training, {measured.evaluation_seconds:.0f} s evaluation",
        "peak memory": short(measured.peak_memory_bytes, "B"),
    }
    for batch, latency in sorted(measured.latency_ms.items()):
        facts[f"latency, batch {batch}"] = f"{latency.median:.3g} ms on {latency.device}"
    return facts


def _facts(facts: dict[str, str]) -> Grid:
    grid = Grid(box=None, show_header=False, pad_edge=False)
    grid.add_column(style="dim", no_wrap=True)
    grid.add_column(overflow="fold")
    for name, value in facts.items():
        grid.add_row(Text(name), Text(value))
    return grid


def _metrics(tasks: list[TaskInfo], val: Evaluation, test: Evaluation) -> Grid:
    grid = Grid(box=None, pad_edge=False, header_style="dim")
    for name in ("task", "metric"):
        grid.add_column(name)
    for name in ("val", "test", "constant"):
        grid.add_column(name, justify="right")
    for task in tasks:
        for metric in task.metrics:
            primary = metric.name == task.primary
            arrow = "↑" if metric.higher_is_better else "↓"
            unit = f" ({metric.unit})" if metric.unit else ""
            numbers = [evaluation.metrics.get(task.name, {}).get(metric.name, float("nan")) for evaluation in (val, test)]
            constant = f"{test.constant[task.name]:.4g}" if primary and task.name in test.constant else ""
            style = "bold" if primary else ""
            grid.add_row(
                Text(task.name),
                Text(f"{metric.name}{unit} {arrow}", style),
                *(f"{number:.4g}" for number in numbers),
                constant,
            )
        skills = [
            f"{evaluation.skill[task.name]:.3f}" if task.name in evaluation.skill else "–" for evaluation in (val, test)
        ]
        grid.add_row(Text(task.name), "skill ↑", *skills, "")
    return grid


def _plan(plan: Plan) -> Grid:
    grid = Grid(box=None, pad_edge=False, header_style="dim")
    grid.add_column("depth")
    for task in plan.tasks:
        grid.add_column(Text(task), justify="center")
    for depth, variants in zip(plan.depths, plan.table, strict=True):
        grid.add_row(Text(depth), *("·" if variant is None else LETTERS[variant % 26] for variant in variants))
    return grid
