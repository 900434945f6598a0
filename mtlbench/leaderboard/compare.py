"""What differs between two records, or two rows of a leaderboard: in configuration, in result, and by how much of noise."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mtlbench.errors import UserError, did_you_mean
from mtlbench.leaderboard import protocols
from mtlbench.leaderboard.columns import columns_of, values_of
from mtlbench.leaderboard.draw import load
from mtlbench.leaderboard.format import Style, prefix
from mtlbench.leaderboard.images import image_noise
from mtlbench.records import Record, read
from mtlbench.statistics.intervals import pool


def find(results: Path, name: str, dataset: str | None = None) -> list[Record]:
    """The records that a person means: a file, an id or the beginning of one, or the name of a leaderboard row.

    A row gives all of its seeds.

    Raises:
        UserError: nothing has that name; or several do: which, and how to say it.
    """
    if name.endswith(".json") and Path(name).is_file():
        return [read(Path(name))]
    records = load(results, [dataset] if dataset else None)[0]
    by_id = [record for record in records if record.id.startswith(name)] if len(name) >= 4 else []
    if len(by_id) > 1:
        raise UserError(f"{name!r} begins {len(by_id)} ids: {', '.join(record.id for record in by_id)}. Give more of it.")
    rows: dict[tuple[Any, ...], list[Record]] = {}
    for record in records:
        if record.row == name:
            key = (
                record.dataset,
                record.protocol_id,
                protocols.text(record.changed),
                protocols.text(record.provenance.sources),
            )
            rows.setdefault(key, []).append(record)
    if len(rows) > 1:
        found = "; ".join(f"{key[0]}, protocol {key[1]}, {key[2]}: {group[0].id}" for key, group in sorted(rows.items()))
        raise UserError(f"{name!r} names {len(rows)} rows ({found}). Name the dataset, or one record by its id.")
    if not by_id and not rows:
        known = {record.row for record in records} | {record.id for record in records}
        raise UserError(f"{results} has no record or row {name!r}.{did_you_mean(name, known)}")
    return by_id or next(iter(rows.values()))


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


def configuration(record: Record) -> dict[str, Any]:
    """All that decides a result, as dotted fields; with the versions and the machine that do not."""
    source = record.provenance
    return protocols.flatten(
        {
            "method": record.method, "label": record.label, "dataset": record.dataset, "hypers": record.hypers,
            "protocol": record.protocol, "sources": source.sources, "machine": source.machine,
            "versions": {"mtlbench": source.mtlbench, **source.versions},
        }
    )  # fmt: skip


def _configuration(a: Record, b: Record) -> list[str]:
    different = protocols.differences({"a": configuration(a), "b": configuration(b)})
    if a.seed != b.seed:
        different["seed"] = {"a": a.seed, "b": b.seed}
    width = max((len(field) for field in different), default=0)
    lines = [f"  {field:<{width}}  {protocols.text(v['a'])} → {protocols.text(v['b'])}" for field, v in different.items()]
    return lines or ["  the same"]


def _result(first: Sequence[Record], second: Sequence[Record]) -> list[str]:
    """Every column that both have: means, difference, and its p-value where both have seeds enough."""
    lines = [f"  {'':<34}{'A':>14}{'B':>14}{'B − A':>14}  "]
    sides = [[values_of(record) for record in records] for records in (first, second)]
    for column in columns_of([*first, *second], first[0].tasks):
        numbers = [[values[column.key] for values in side if column.key in values] for side in sides]
        if not all(numbers):
            continue
        means = [sum(side) / len(side) for side in numbers]
        style = Style(*prefix(column.unit, max(abs(mean) for mean in means)))
        style = Style(style.scale, 4, style.unit)
        name = (
            f"{column.group}: {column.title}"
            if column.section == "task metrics" and column.group != "skill"
            else column.title
        )
        unit = f" ({style.unit})" if style.unit else ""
        shown = [style.number(number) for number in (*means, means[1] - means[0])]
        title = f"{name}{unit} {column.arrow}"
        lines.append(f"  {title:<34}{shown[0]:>14}{shown[1]:>14}{shown[2]:>14}  {_verdict(numbers, column.better)}".rstrip())
    if min(len(first), len(second)) < 2:
        lines.append("  One seed on a side: training noise is unknown, so no difference here is called significant.")
    else:
        lines.append("  p: two-sided, variance pooled over the two rows; every metric is a test of its own.")
    return lines


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
    for found in image_noise(a, b, draws):
        where = f"  {found.task}: {found.metric}"
        if found.difference is None:
            lines.append(f"{where}: {found.reason}")
        else:
            difference = found.difference
            lines.append(
                f"{where}: B − A = {difference.mean:.4g} ± {difference.half:.2g} over {difference.n} scenes or images"
            )
    return lines
