"""What differs between two records, or two rows of a leaderboard: in configuration, in result, and by how much of noise."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from mtlbench.leaderboard import protocols
from mtlbench.leaderboard.columns import Column, columns_of, values_of
from mtlbench.leaderboard.image_bootstrap import image_noise
from mtlbench.leaderboard.number_format import axis_format
from mtlbench.records import Record
from mtlbench.records.values import Json, as_json
from mtlbench.statistics.comparisons import pool


def compare(first: Sequence[Record], second: Sequence[Record], draws: int = 1000) -> str:
    """A report for a person: plain text, sections for configuration, result and noise.

    Args:
        first, second: one record each, or all seeds of one row.
        draws: bootstrap samples over the test images; 0 leaves that section out.
    """
    a, b = first[0], second[0]
    lines = [f"A  {_title(first)}", f"B  {_title(second)}", "", "Configuration", *_configuration(a, b), "", "Result (test)"]
    if a.protocol_id != b.protocol_id:
        lines.append("  The protocols differ (above): these numbers are not comparable as a ranking.")
    lines += _result(first, second)
    if draws and a.dataset == b.dataset and (a.result.images or b.result.images):
        lines += ["", *_noise(a, b, draws)]
    return "\n".join(lines) + "\n"


def _title(records: Sequence[Record]) -> str:
    record = records[0]
    which = f"record {record.id}, seed {record.seed}" if len(records) == 1 else f"{len(records)} seeds"
    return f"{record.row} on {record.dataset}, {which}"


def configuration(record: Record) -> dict[str, Json]:
    """All that decides a result, as dotted fields; with the versions and the machine that do not."""
    source = record.provenance
    return protocols.flatten(
        as_json(
            {
                "method": record.method,
                "label": record.label,
                "dataset": record.dataset,
                "hypers": record.hypers,
                "protocol": record.protocol,
                "sources": source.sources,
                "machine": source.machine,
                "versions": {"mtlbench": source.mtlbench, **source.versions},
            }
        )
    )


def _configuration(a: Record, b: Record) -> list[str]:
    different = protocols.differences({"a": configuration(a), "b": configuration(b)})
    if a.seed != b.seed:
        different["seed"] = {"a": a.seed, "b": b.seed}
    width = max((len(field) for field in different), default=0)
    lines = [
        f"  {field:<{width}}  {protocols.as_text(values['a'])} → {protocols.as_text(values['b'])}"
        for field, values in different.items()
    ]
    return lines or ["  the same"]


def _result(first: Sequence[Record], second: Sequence[Record]) -> list[str]:
    """Every column that both have: means, difference, and its p-value where both have seeds enough."""
    lines = [f"  {'':<34}{'A':>14}{'B':>14}{'B − A':>14}  "]
    sides = [[values_of(record) for record in records] for records in (first, second)]
    for column in columns_of([*first, *second], first[0].tasks):
        numbers = [[values[column.key] for values in side if column.key in values] for side in sides]
        if all(numbers):
            lines.append(_column_line(column, numbers))
    if min(len(first), len(second)) < 2:
        lines.append("  One seed on a side: training noise is unknown, so no difference here is called significant.")
    else:
        lines.append("  p: two-sided, variance pooled over the two rows; every metric is a test of its own.")
    return lines


def _column_line(column: Column, numbers: Sequence[Sequence[float]]) -> str:
    means = [sum(side) / len(side) for side in numbers]
    form = replace(axis_format(column.unit, max(abs(mean) for mean in means)), decimals=4)
    of_task = column.section == "task metrics" and column.group != "skill"
    name = f"{column.group}: {column.title}" if of_task else column.title
    title = f"{name}{f' ({form.unit})' if form.unit else ''} {column.arrow}"
    texts = [form.number(number) for number in (*means, means[1] - means[0])]
    return f"  {title:<34}{texts[0]:>14}{texts[1]:>14}{texts[2]:>14}  {_verdict(numbers, column.better)}".rstrip()


def _verdict(numbers: Sequence[Sequence[float]], better: int) -> str:
    if not better or min(len(side) for side in numbers) < 2:
        return ""
    pooled = pool({"a": numbers[0], "b": numbers[1]})
    if len(pooled.means) < 2 or pooled.variance == 0:
        return ""
    comparison = pooled.compare("a", "b")
    winner = "B" if comparison.difference * better > 0 else "A"
    return f"p = {comparison.p:.3f}" + (f", {winner} is better" if comparison.separable else ", not separable")


def _noise(a: Record, b: Record, draws: int) -> list[str]:
    lines = [f"Test-set noise (seed {a.seed} against seed {b.seed}, images resampled by scene; not training noise)"]
    warnings: dict[str, None] = {}
    for noise in image_noise(a, b, draws):
        where, difference = f"  {noise.task}: {noise.metric}", noise.difference
        if difference is None:
            lines.append(f"{where}: {noise.reason}")
            continue
        lines.append(f"{where}: B − A = {difference.mean:.4g} ± {difference.half:.2g} over {difference.n} scenes or images")
        if noise.warning:
            warnings[f"  {noise.warning}"] = None
    return [*lines, *warnings]
