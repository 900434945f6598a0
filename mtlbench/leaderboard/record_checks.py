"""Whether a record can be trusted: what is wrong with a file that somebody sent, one line per problem.

That every field has the right form is the business of `mtlbench.records`; here its values are compared with each other.
"""

from __future__ import annotations

import hashlib
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from mtlbench import records
from mtlbench.errors import UserError
from mtlbench.leaderboard.evaluation_checks import evaluation_problems, mean_of_skills_problems, robustness_problems
from mtlbench.leaderboard.tuning_card import tuning_card
from mtlbench.records import (
    MergeTree,
    Plan,
    Record,
    TaskInfo,
    canonical,
)
from mtlbench.records.epochs_on_test import EpochsOnTest
from mtlbench.records.values import Json

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.+-]*")
"""What a dataset may be called: its leaderboard is a folder of that name."""


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


def problems(record: Record, sources: Mapping[str, str] | None = None) -> Iterator[str]:
    """What is wrong with a record that fits the schema."""
    if not NAME.fullmatch(record.dataset):
        yield f"dataset {record.dataset!r}: expected letters, digits and _ . + -"
    identity = hashlib.sha256(canonical(record.protocol).encode()).hexdigest()[:12]
    if identity != record.protocol_id:
        yield f"protocol_id {record.protocol_id}, but its card hashes to {identity}: the card was edited, or the id was"
    yield from _tasks(record.tasks)
    yield from _auxiliary(record)
    for name, evaluation in {"val": record.result.val, "test": record.result.test, **record.result.shifted}.items():
        yield from evaluation_problems(name, evaluation, record.tasks)
    for point in record.result.curve:
        if point.val is not None:
            yield from mean_of_skills_problems(f"curve, epoch {point.epoch}", point.val)
    yield from _faults(record)
    yield from _costs(record)
    yield from _selection(record)
    yield from _reference(record)
    yield from _tuning(record)
    if record.result.robustness is not None:
        yield from robustness_problems(record.result.robustness, record.tasks)
    if record.result.plan is not None:
        yield from _plan(record.result.plan, record)
    if record.result.artefacts.merge_tree is not None:
        yield from _merge_tree(record.result.artefacts.merge_tree)
    if not record.provenance.sources or not all(record.provenance.sources.values()):
        yield "provenance.sources: the hashes of the plugins' sources are missing"
    for plugin, digest in (sources or {}).items():
        if record.provenance.sources.get(plugin, digest) != digest:
            yield f"provenance.sources: {plugin} is another version than the one here"
    for plugin in record.method.split("+") if sources is not None else ():
        if plugin not in record.provenance.sources:
            yield f"provenance.sources: the hash of its own method {plugin} is missing"


def epochs_on_test_problems(record: Record, epochs: EpochsOnTest) -> Iterator[str]:
    """What is wrong with the file of epochs on test that lies beside a record."""
    if epochs.record != record.id:
        yield f"is of record {epochs.record}, and lies beside {record.id}"
    elif not epochs.test:
        yield "has no epoch"
    elif not epochs.fits(record):
        yield "its epochs are not those of the record, which was trained again; run `mtlbench selection-bias`"
    for epoch, evaluation in epochs.test.items():
        yield from evaluation_problems(f"epoch {epoch}", evaluation, record.tasks)
        if set(evaluation.skill) != set(record.result.test.skill):
            yield f"epoch {epoch}: has skills of other tasks than the record"


def _tasks(tasks: list[TaskInfo]) -> Iterator[str]:
    if not tasks:
        yield "tasks: none"
    if len({task.name for task in tasks}) < len(tasks):
        yield "tasks: a name stands twice"
    for task in tasks:
        names = [metric.name for metric in task.metrics]
        if task.primary not in names:
            yield f"task {task.name}: its primary metric {task.primary!r} is not among {', '.join(names)}"
        if len(set(names)) < len(names):
            yield f"task {task.name}: a metric stands twice"
        if "+" in task.name:
            yield f"task {task.name}: + joins the names of tasks, and stands in none"
        for metric in task.metrics:
            if not math.isfinite(metric.perfect):
                yield f"task {task.name}: the perfect {metric.name} is {metric.perfect}, expected a finite number"


def _auxiliary(record: Record) -> Iterator[str]:
    """Auxiliary tasks are those that the protocol card marks, and nothing was measured of them."""
    named, marked = sorted(record.auxiliary), sorted(_marked_as_auxiliary(record.protocol.get("dataset")))
    if named != marked:
        yield f"auxiliary: {', '.join(named) or 'none'}, and the protocol card marks {', '.join(marked) or 'none'}"
    result = record.result
    measured = {"tasks": {task.name for task in record.tasks}, "images": set(result.images)}
    for name, evaluation in {"val": result.val, "test": result.test, **result.shifted}.items():
        measured[name] = {*evaluation.metrics, *evaluation.skill}
    for name, tasks in measured.items():
        for task in sorted(tasks.intersection(named)):
            yield f"{name}: {task} is auxiliary, and stands there all the same"


def _marked_as_auxiliary(dataset: Json) -> Iterator[str]:
    """The names that the dataset's part of a protocol card marks."""
    entries = dataset.get("tasks") if isinstance(dataset, dict) else None
    for entry in entries if isinstance(entries, list) else ():
        if isinstance(entry, dict) and entry.get("auxiliary"):
            yield str(entry.get("name"))


def _faults(record: Record) -> Iterator[str]:
    """What happened to the trial that makes its numbers others than a whole training's."""
    result = record.result
    if result.stopped:
        yield f"training stopped early, since {result.stopped}"
    if result.micro_batches:
        yield (
            f"memory ran out, and batches passed in {result.micro_batches} pieces: BatchNorm saw fewer images at a time "
            "than the protocol says"
        )
    broken: dict[str, int] = {}
    for point in result.curve:
        for task, loss in point.train_loss.items():
            if not math.isfinite(loss):
                broken.setdefault(task, point.epoch)
    for task, epoch in broken.items():
        yield f"curve: the training loss of {task} is not finite from epoch {epoch} on"


def _costs(record: Record) -> Iterator[str]:
    cost, measured = record.result.cost, record.measured
    for name, positive in (
        ("parameters.total", cost.parameters.get("total", 0)),
        ("flops.all", cost.flops.get("all", 0)),
        ("images", cost.images),
        ("updates", cost.updates),
        ("training_flops", cost.training_flops),
    ):
        if positive <= 0:
            yield f"cost.{name} is {positive}, expected more than 0"
    if cost.parameters.get("shared", 0) > cost.parameters.get("total", 0):
        yield "cost.parameters: more are shared than there are"
    for name, number in record.result.extra.items():
        if not math.isfinite(number):
            yield f"{name} is {number}, expected a finite number"
    for name, number in (
        ("training_seconds", measured.training_seconds),
        ("evaluation_seconds", measured.evaluation_seconds),
        ("peak_memory_bytes", measured.peak_memory_bytes),
    ):
        if not math.isfinite(number):
            yield f"measured.{name} is {number}, expected a finite number"
        if number < 0:
            yield f"measured.{name} is negative"


def _reference(record: Record) -> Iterator[str]:
    """What Δ is measured against are networks of their own: anything else would make the others look better or worse."""
    table = record.result.plan.table if record.result.plan is not None else []
    variants = [[variant for variant in row if variant is not None] for row in table]
    shared = record.result.cost.parameters.get("shared", 0) > 0 or any(len(set(row)) < len(row) for row in variants)
    if record.reference and shared:
        yield f"reference: {record.method} shares parameters between tasks, and what Δ is measured against shares none"


def _selection(record: Record) -> Iterator[str]:
    in_parts = [task for part in record.result.selected for task in part.split("+")]
    if not _each_once(in_parts, record):
        yield f"selected: its parts are {', '.join(record.result.selected) or 'none'}, expected each task in one of them"
    epochs = {point.epoch for point in record.result.curve if point.selectable}
    for part, epoch in record.result.selected.items():
        if epochs and epoch not in epochs:
            yield f"selected: epoch {epoch} of {part} is not a selectable epoch of the curve"
    for before, after in zip(record.result.curve, record.result.curve[1:], strict=False):
        if after.images < before.images or after.training_flops < before.training_flops:
            yield f"curve: costs fall from epoch {before.epoch} to {after.epoch}"
            break


def _tuning(record: Record) -> Iterator[str]:
    """A winner was chosen from as many trials as its card allows, on a seed that was not the search's."""
    tuning, card = record.tuning, tuning_card(record)
    if (tuning is None) != ("tuning" not in record.protocol):
        yield "tuning: stands in the record or in its protocol card, and not in both"
    elif tuning is not None and tuning.role == "winner":
        if not 0 < len(set(tuning.chosen_from)) <= card.trials:
            yield f"tuning: chosen from {len(set(tuning.chosen_from))} trials, and its budget is {card.trials}"
        if tuning.number >= card.trials:
            yield f"tuning: configuration {tuning.number} is beyond its budget of {card.trials} trials"
        if record.seed == card.seed:
            yield f"tuning: trained on seed {record.seed}, which is the search's"
    elif tuning is not None and tuning.trials_protocol != record.protocol_id:
        yield f"tuning: trials_protocol {tuning.trials_protocol} is not the record's own"


def _plan(plan: Plan, record: Record) -> Iterator[str]:
    if not _each_once(plan.tasks, record):
        names = [task.name for task in record.tasks]
        yield f"plan: its tasks are {', '.join(plan.tasks)}, those of the record {', '.join(names)}"


def _each_once(names: Sequence[str], record: Record) -> bool:
    """Whether every scored task stands there once, and no other task but auxiliary ones."""
    scored = {task.name for task in record.tasks}
    return len(set(names)) == len(names) and scored <= set(names) <= scored.union(record.auxiliary)


def _merge_tree(tree: MergeTree) -> Iterator[str]:
    for frame in tree.frames:
        for name, positive in (("parameters", frame.parameters), ("flops", frame.flops)):
            if positive <= 0:
                yield f"artefacts.merge_tree, epoch {frame.epoch}: {name} is {positive}, expected more than 0"
