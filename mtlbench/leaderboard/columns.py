"""The columns of a leaderboard: the name of each, which way is better, and its value in a record."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from mtlbench.records import Record, TaskInfo
from mtlbench.statistics.robustness_summary import SUMMARY


@dataclass(frozen=True)
class Column:
    """One column.

    Attributes:
        key: its name in the CSV, unique: `test/depth/abs_err`, `delta/task`, `flops`, …
        title: its heading, without arrow and unit.
        section: `task metrics`, `val`, `delta`, `cost`, `robustness` or `other`.
        group: neighbouring columns with a common heading: the task's name, or the section again.
        better: +1 higher, −1 lower is better, 0 neither.
        unit: `count`, `flop`, `B` and `s` are scaled by a prefix chosen for the whole column; others are shown as they are.
        primary: the task's primary metric.
        help: one line of explanation.
    """

    key: str
    title: str
    section: str
    group: str
    better: int = 0
    unit: str = ""
    primary: bool = False
    help: str = ""

    @property
    def arrow(self) -> str:
        return {1: "↑", -1: "↓"}.get(self.better, "")


DELTAS = (
    Column(
        "delta/task",
        "Δ task",
        "delta",
        "delta",
        1,
        "%",
        help="mean over tasks of the mean gain within the task; sorts the table",
    ),
    Column("delta/metric", "Δ metric", "delta", "delta", 1, "%", help="mean gain over all metrics"),
    Column("delta/primary", "Δ primary", "delta", "delta", 1, "%", help="mean gain over the tasks' primary metrics"),
)
RANKS = (
    Column("rank/task", "rank", "delta", "delta", -1, "rank", help="by Δ task; by mean skill where there is no reference"),
    Column("rank/metric", "rank (Δ metric)", "delta", "delta", -1, "rank"),
    Column("rank/primary", "rank (Δ primary)", "delta", "delta", -1, "rank"),
    Column(
        "rank/spread", "rank spread", "delta", "delta", -1, "rank",
        help="worst minus best of the three ranks; 0: the choice of Δ does not matter for this row",
    ),
)  # fmt: skip
SKILL = Column(
    "mean_skill", "skill", "task metrics", "skill", 1, "skill", help="mean over tasks; 0: best constant, 1: perfect"
)
VAL_SKILL = Column("val/mean_skill", "skill on val", "val", "val", 1, "skill", help="what hyper-parameters are chosen by")
COSTS = (
    Column("parameters", "params", "cost", "cost", -1, "count", help="of the deployed network"),
    Column("parameters/shared", "shared params", "cost", "cost", 0, "count", help="owned by two tasks or more"),
    Column("flops", "FLOPs", "cost", "cost", -1, "flop", help="one image, all tasks; 2 per multiply-add"),
    Column("images", "train images", "cost", "cost", 0, "count", help="per task, all phases"),
    Column("updates", "updates", "cost", "cost", 0, "count", help="optimizer steps"),
    Column("training_flops", "train FLOPs", "cost", "cost", -1, "flop", help="all phases, forward and backward"),
    Column(
        "training_seconds", "train time", "cost", "cost", -1, "s", help="wall time; other trials may have shared the machine"
    ),
    Column("peak_memory_bytes", "peak memory", "cost", "cost", -1, "B"),
)

CORRUPTED_DELTA = Column(
    "delta/corrupted", "Δ task, corrupted", "robustness", "robustness", 1, "%",
    help="Δ task against single-task networks under the same corruptions: a ratio of sums over corruptions and severities",
)  # fmt: skip


STRUCTURE = Column(
    "structure_agreement", "agreement of plans", "other", "other", 0,
    help="of the seeds' sharing plans, corrected for chance: 1 for equal plans, 0 for plans that agree by chance",
)  # fmt: skip


def metric_columns(tasks: Sequence[TaskInfo]) -> list[Column]:
    """Every task's metrics, then its skill."""
    columns = []
    for task in tasks:
        for metric in task.metrics:
            columns.append(
                Column(
                    f"test/{task.name}/{metric.name}",
                    metric.name,
                    "task metrics",
                    task.name,
                    1 if metric.higher_is_better else -1,
                    metric.unit,
                    metric.name == task.primary,
                )
            )
        columns.append(Column(f"skill/{task.name}", "skill", "task metrics", task.name, 1, "skill"))
    return columns


def val_columns(tasks: Sequence[TaskInfo]) -> list[Column]:
    """Mean skill on val, and every task's primary metric there: for choosing, so that nobody chooses on test."""
    return [VAL_SKILL] + [
        Column(
            f"val/{task.name}/{metric.name}",
            f"{task.name} {metric.name} on val",
            "val",
            "val",
            1 if metric.higher_is_better else -1,
            metric.unit,
        )
        for task in tasks
        for metric in task.metrics
        if metric.name == task.primary
    ]


def columns_of(records: Iterable[Record], tasks: Sequence[TaskInfo]) -> list[Column]:
    """The columns of a table, in order; the optional ones only where some record fills them."""
    keys: dict[str, None] = {}
    for record in records:
        keys.update(dict.fromkeys(values_of(record)))
    known = [*DELTAS, *RANKS, SKILL, *metric_columns(tasks), *val_columns(tasks), *COSTS]
    optional = []
    for prefix, section, title, better, unit in (
        ("latency_ms/", "cost", "latency, batch {}", -1, "ms"),
        ("shifted/", "robustness", "skill on {}", 1, "skill"),
        ("extra/", "other", "{}", 0, ""),
    ):
        names = sorted((key.removeprefix(prefix) for key in keys if key.startswith(prefix)), key=_natural)
        optional += [Column(prefix + name, title.format(name), section, section, better, unit) for name in names]
    latency = [column for column in optional if column.section == "cost"]
    return [
        *known,
        *latency,
        *_robustness_columns(keys),
        *(column for column in optional if column.section != "cost"),
        STRUCTURE,
    ]


def _robustness_columns(keys: Iterable[str]) -> list[Column]:
    """The numbers of a record's robustness summary, the known ones first, and Δ under corruption."""
    names = [key.removeprefix("robustness/") for key in keys if key.startswith("robustness/")]
    columns = [
        Column(f"robustness/{name}", known.title, "robustness", "robustness", known.better, known.unit, help=known.help)
        for name, known in SUMMARY.items()
        if name in names
    ]
    if "mean_skill" in names:
        columns.append(CORRUPTED_DELTA)
    for name in sorted(set(names) - set(SUMMARY), key=lambda name: _natural(name.removeprefix("pgd_"))):
        title, better, unit = (f"skill, PGD {name[4:]}/255", 1, "skill") if name.startswith("pgd_") else (name, 0, "")
        columns.append(Column(f"robustness/{name}", title, "robustness", "robustness", better, unit))
    return columns


def values_of(record: Record) -> dict[str, float]:
    """Column key → its value in one record. Δ and ranks are no property of a single record."""
    result, measured = record.result, record.measured
    values: dict[str, float] = {
        **{f"test/{task}/{name}": number for task, named in result.test.metrics.items() for name, number in named.items()},
        **{f"skill/{task}": number for task, number in result.test.skill.items()},
        "mean_skill": result.test.mean_skill,
        "val/mean_skill": result.val.mean_skill,
        **{
            f"val/{task.name}/{task.primary}": result.val.metrics[task.name][task.primary]
            for task in record.tasks
            if task.primary in result.val.metrics.get(task.name, {})
        },
        "parameters": result.cost.parameters.get("total", 0),
        "flops": result.cost.flops.get("all", 0),
        "images": result.cost.images,
        "updates": result.cost.updates,
        "training_flops": result.cost.training_flops,
    }
    if "shared" in result.cost.parameters:
        values["parameters/shared"] = result.cost.parameters["shared"]
    if measured.training_seconds:
        values["training_seconds"] = measured.training_seconds
    if measured.peak_memory_bytes:
        values["peak_memory_bytes"] = measured.peak_memory_bytes
    values.update({f"latency_ms/{batch}": latency.median for batch, latency in measured.latency_ms.items()})
    if result.robustness is not None:
        values.update({f"robustness/{name}": number for name, number in result.robustness.summary.items()})
    values.update({f"shifted/{name}": evaluation.mean_skill for name, evaluation in result.shifted.items()})
    values.update({f"extra/{name}": number for name, number in result.extra.items()})
    return {key: float(number) for key, number in values.items()}


def _natural(name: str) -> tuple[int, float, str]:
    """Sort "8" before "16", and numbers before words."""
    return (0, float(name), name) if name.replace(".", "", 1).isdigit() else (1, 0.0, name)
