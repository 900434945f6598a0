"""Whether a record can be trusted: what is wrong with a file that somebody sent, one line a problem."""

from __future__ import annotations

import hashlib
import math
import re
from collections.abc import Iterator, Mapping
from pathlib import Path

from mtlbench import record as records
from mtlbench.errors import UserError
from mtlbench.record import Evaluation, Record, TaskCard, canonical

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.+-]*")
"""What a dataset may be called: its leaderboard is a folder of that name."""

TOLERANCE = 1e-6


def check_file(path: Path, sources: Mapping[str, str] | None = None) -> list[str]:
    """Everything that is wrong with one record file, each line with the file's name; empty when it is fine.

    Args:
        sources: plugin → hash of its source as it is here. A record made by another version of a plugin is reported.
    """
    try:
        record = records.read(path)
    except UserError as error:
        return [str(error)]
    return [f"{path}: {problem}" for problem in problems(record, sources)]


def read_checked(paths: list[Path]) -> tuple[list[tuple[Path, Record]], list[str]]:
    """Read records: the good ones with their files, and one line for each that was refused, with its first problem."""
    good, refused = [], []
    for path in sorted(paths):
        try:
            record = records.read(path)
        except UserError as error:
            refused.append(str(error))
            continue
        first = next(iter(problems(record)), None)
        if first is None:
            good.append((path, record))
        else:
            refused.append(f"{path}: {first}")
    return good, refused


def problems(record: Record, sources: Mapping[str, str] | None = None) -> Iterator[str]:
    """What is wrong with a record that fits the schema."""
    if not NAME.fullmatch(record.dataset):
        yield f"dataset {record.dataset!r}: expected letters, digits and _ . + -"
    found = hashlib.sha256(canonical(record.protocol).encode()).hexdigest()[:12]
    if found != record.protocol_id:
        yield f"protocol_id {record.protocol_id}, but its card hashes to {found}: the card was edited, or the id was"
    yield from _tasks(record.tasks)
    for name, evaluation in {"val": record.result.val, "test": record.result.test, **record.result.shifted}.items():
        yield from _evaluation(name, evaluation, record.tasks)
    yield from _costs(record)
    yield from _selection(record)
    if not record.provenance.sources or not all(record.provenance.sources.values()):
        yield "provenance.sources: the hashes of the plugins' sources are missing"
    for plugin, digest in (sources or {}).items():
        if record.provenance.sources.get(plugin, digest) != digest:
            yield f"provenance.sources: {plugin} is another version than the one here"


def _tasks(tasks: list[TaskCard]) -> Iterator[str]:
    if not tasks:
        yield "tasks: none"
    if len({task.name for task in tasks}) < len(tasks):
        yield "tasks: a name stands twice"
    for task in tasks:
        names = [metric.name for metric in task.metrics]
        if task.primary not in names:
            yield f"task {task.name}: its primary metric {task.primary!r} is not among {', '.join(names)}"


def _evaluation(name: str, evaluation: Evaluation, tasks: list[TaskCard]) -> Iterator[str]:
    for task in tasks:
        metrics = evaluation.metrics.get(task.name)
        if metrics is None:
            yield f"{name}: task {task.name} has no metrics"
            continue
        for metric in task.metrics:
            where = f"{name}: {task.name}.{metric.name}"
            value = metrics.get(metric.name)
            if value is None:
                yield f"{where} is missing"
            elif math.isinf(value):
                yield f"{where} is infinite"
            elif (value - metric.perfect) * (1 if metric.higher_is_better else -1) > TOLERANCE * max(
                1.0, abs(metric.perfect)
            ):
                yield f"{where} = {value:g} is better than perfect ({metric.perfect:g})"
        yield from _skill(name, evaluation, task)
    skills = [evaluation.skill[task.name] for task in tasks if task.name in evaluation.skill]
    mean = sum(skills) / len(skills) if skills else math.nan
    if not _equal(mean, evaluation.mean_skill):
        yield f"{name}: mean_skill is {evaluation.mean_skill:g}, but the tasks' skills have the mean {mean:g}"


def _skill(name: str, evaluation: Evaluation, task: TaskCard) -> Iterator[str]:
    """Skill against the metric it comes from: (c − m)/(c − p), −1 for a metric that is not finite, and at worst."""
    value = evaluation.metrics[task.name].get(task.primary, math.nan)
    perfect = next((metric.perfect for metric in task.metrics if metric.name == task.primary), math.nan)
    constant = evaluation.constant.get(task.name, math.nan)
    if constant == perfect or not math.isfinite(constant):
        expected = None
    elif not math.isfinite(value):
        expected = -1.0
    else:
        expected = max(-1.0, (constant - value) / (constant - perfect))
    given = evaluation.skill.get(task.name)
    if (given is None) != (expected is None) or (given is not None and expected is not None and not _equal(given, expected)):
        yield f"{name}: skill of {task.name} is {_shown(given)}, but its metrics give {_shown(expected)}"


def _costs(record: Record) -> Iterator[str]:
    cost, measured = record.result.cost, record.measured
    for name, positive in (
        ("parameters.total", cost.parameters.get("total", 0)),
        ("flops.all", cost.flops.get("all", 0)),
        ("images", cost.images),
        ("updates", cost.updates),
    ):
        if positive <= 0:
            yield f"cost.{name} is {positive}, expected more than 0"
    if cost.parameters.get("shared", 0) > cost.parameters.get("total", 0):
        yield "cost.parameters: more are shared than there are"
    for name, number in {**record.result.extra, **vars(measured)}.items():
        if isinstance(number, int | float) and not math.isfinite(number):
            yield f"{name} is {number}, expected a finite number"
    for name, number in vars(measured).items():
        if isinstance(number, int | float) and number < 0:
            yield f"measured.{name} is negative"


def _selection(record: Record) -> Iterator[str]:
    epochs = {point.epoch for point in record.result.curve if point.selectable}
    for part, epoch in record.result.selected.items():
        if epochs and epoch not in epochs:
            yield f"selected: epoch {epoch} of {part} is not a selectable epoch of the curve"
    for before, after in zip(record.result.curve, record.result.curve[1:], strict=False):
        if after.images < before.images or after.training_flops < before.training_flops:
            yield f"curve: costs fall from epoch {before.epoch} to {after.epoch}"
            break


def _equal(a: float, b: float) -> bool:
    return (math.isnan(a) and math.isnan(b)) or math.isclose(a, b, rel_tol=TOLERANCE, abs_tol=TOLERANCE)


def _shown(value: float | None) -> str:
    return "left out" if value is None else f"{value:.6g}"
