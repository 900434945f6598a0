"""The page of replications: published rows beside our records of the same protocol, with the gap and its known cause.

A replication is a preset (`experiments/replications/NAME.yaml`) with an entry in the ledger (`ledger/NAME.yaml` beside it):
what was published and where, what differs here, and what a run costs. Records of the preset lie in a folder of its name.
They are shown here and ranked nowhere: published protocols choose on test, or do without val.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from mtlbench.errors import UserError
from mtlbench.leaderboard import reported
from mtlbench.leaderboard.loading import load
from mtlbench.leaderboard.reported import Reported
from mtlbench.records import Record
from mtlbench.statistics.intervals import Interval, t_interval

NOT_RUN = "*not run*"

COMPARED = {
    "epochs": ("budget", "epochs"),
    "batch_size": ("batch_size",),
    "backbone": ("backbone", "name"),
    "lr": ("optimizer", "lr"),
    "schedule": ("optimizer", "schedule"),
}
"""Settings of a preset that its records must have, and where a protocol card holds them; others are marked."""


class _Entry(BaseModel):
    model_config = ConfigDict(extra="forbid")


class Table(_Entry):
    """Where published rows stand: rows of a file in `leaderboards/reported/`."""

    file: str
    table: str
    dataset: str = Field(description="as the file names it")
    ours: str = Field(default="", description="the dataset's name here, where it is another one")


class Metric(_Entry):
    """A published metric, ours, and what ours is multiplied by for the published unit. Both as `task/metric`."""

    published: str
    ours: str
    scale: float = 1.0


class Row(_Entry):
    """A published method and the row of the preset that stands for it, with what is known of the gap."""

    published: str
    ours: str
    cause: str = ""


class Cost(_Entry):
    """What a run of the whole preset takes, and how that was found out."""

    gpu_hours: float = Field(ge=0)
    basis: str


class Ledger(_Entry):
    """One replication's entry."""

    title: str
    source: str = Field(description="paper and code")
    claim: str = Field(description="what the published table says, in a sentence")
    tables: list[Table] = Field(default_factory=list)
    metrics: list[Metric] = Field(default_factory=list)
    rows: list[Row] = Field(default_factory=list)
    missing: str = Field(default="", description="why there are no published numbers, where there are none")
    deviations: list[str] = Field(min_length=1)
    cost: Cost


@dataclass(frozen=True)
class Comparison:
    """A published number beside ours.

    Attributes:
        ours: mean over seeds with its interval, in the published unit; None where there is no record.
        remarks: settings of the records that are not the preset's.
    """

    dataset: str
    row: Row
    metric: Metric
    published: str
    ours: Interval | None
    remarks: tuple[str, ...] = ()

    @property
    def gap(self) -> float:
        """Ours − published."""
        return math.nan if self.ours is None else self.ours.mean - float(self.published)

    @property
    def verdict(self) -> str:
        """Whether the published number lies in our interval, widened by half of its last printed digit.

        The published noise is mostly unknown, so that "outside" is no proof of a difference.
        """
        if self.ours is None:
            return NOT_RUN
        if self.remarks:
            return "not comparable"
        if not math.isfinite(self.ours.half):
            return "no interval from one seed"
        printed = 0.5 * 10.0 ** -len(self.published.partition(".")[2])
        return "within its noise" if abs(self.gap) <= self.ours.half + printed else "outside its noise"


def read_ledger(path: Path) -> Ledger:
    """Read and check an entry.

    Raises:
        UserError: not YAML, or a field is missing, unknown or refused.
    """
    try:
        return Ledger.model_validate(yaml.safe_load(path.read_text(encoding="utf-8")))
    except OSError as error:
        raise UserError(f"The ledger {path} cannot be read: {error.strerror}. Every preset has one.") from None
    except yaml.YAMLError as error:
        raise UserError(f"{path} is not valid YAML: {' '.join(str(error).split())}.") from None
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise UserError(
            f"{path}: {where or 'the file'}: {first['msg']}. docs/replications.md explains the fields."
        ) from None


def comparisons(
    ledger: Ledger, published: Sequence[Reported], records: Sequence[Record], settings: Mapping[str, Any]
) -> Iterator[Comparison]:
    """Every published number of the entry's rows beside ours.

    Args:
        settings: the preset's, by dataset.

    Raises:
        UserError: the entry names a row that was not published.
    """
    for table in ledger.tables:
        place = (table.file, table.table, table.dataset)
        lines = {line.method: line for line in published if line.group == place and line.fields["role"] != "stderr"}
        dataset = table.ours or table.dataset
        for row in ledger.rows:
            if row.published not in lines:
                if not any(line.group[0] == table.file and line.method == row.published for line in published):
                    raise UserError(f"{table.file} has no row {row.published!r}, which the ledger {ledger.title!r} names.")
                continue  # it was published on another of the datasets
            own = [record for record in records if record.row == row.ours and record.dataset == dataset]
            remarks = tuple(sorted({text for record in own for text in _differences(record, settings.get(dataset, {}))}))
            for metric in ledger.metrics:
                task, _, name = metric.published.partition("/")
                text = lines[row.published].cells.get((task, name))
                if text is not None:
                    yield Comparison(dataset, row, metric, text, _ours(own, metric), remarks)


def _ours(records: Sequence[Record], metric: Metric) -> Interval | None:
    task, _, name = metric.ours.partition("/")
    values = [metric.scale * record.result.test.metrics.get(task, {}).get(name, math.nan) for record in records]
    return t_interval(values) if values else None


def _differences(record: Record, settings: Mapping[str, Any]) -> Iterator[str]:
    for name, path in COMPARED.items():
        value: Any = record.protocol
        for key in path:
            value = value.get(key) if isinstance(value, dict) else None
        if name in settings and value != settings[name]:
            yield f"{name} {value} instead of {settings[name]}"


def page(presets: Path, published: Path, results: Path) -> str:
    """The page, in Markdown: presets in order of their names.

    Args:
        presets: folder of the presets, with `ledger/` in it.
        published: folder of published numbers.
        results: folder that holds the records of preset NAME in NAME/; it need not exist.

    Raises:
        UserError: a preset without an entry, or an entry that is refused.
    """
    rows = reported.read(published)
    parts = [HEAD]
    for path in sorted(presets.glob("*.yaml")):
        folder = results / path.stem
        records = load(folder)[0] if folder.is_dir() else []
        parts.append(_section(path, read_ledger(presets / "ledger" / path.name), rows, records))
    return "\n".join(parts)


HEAD = """\
# Replications

<!-- Generated by `mtlbench replications`: do not edit. -->

Published rows, the preset that repeats their protocol, and what our records say. A replication is never ranked with other
rows. *Ours* is the mean over seeds with its 95 % t interval; the gap is ours minus published, in the published unit. The
verdict asks whether the published number lies in our interval: *within its noise*, *outside its noise* (which is no proof of
a difference, since the published noise is unknown), *not comparable* (the records have other settings than the preset), or
*not run*. Costs are estimates.

A preset runs with `mtlbench bench experiments/replications/NAME.yaml --results replications/NAME`; this page is made again
with `mtlbench replications`. What a preset's entry holds (`experiments/replications/ledger/NAME.yaml`): `title`, `source`,
`claim`, `tables` (`file`, `table` and `dataset` of `leaderboards/reported/`; `ours`: the dataset's name here), `metrics`
(`published`, `ours`, `scale`), `rows` (`published`, `ours`, `cause`), `missing`, `deviations`, `cost` (`gpu_hours`,
`basis`).
"""


def _section(path: Path, ledger: Ledger, published: Sequence[Reported], records: Sequence[Record]) -> str:
    settings = _settings(path)
    found = list(comparisons(ledger, published, records, settings))
    lines = [f"## {path.stem}: {ledger.title}", "", f"{ledger.claim}", "", f"Source: {ledger.source}.", ""]
    lines += [f"Preset: `experiments/replications/{path.name}`; {_status(records)}", ""]
    lines += [f"Cost of the whole preset: {ledger.cost.gpu_hours:g} GPU hours, an estimate: {ledger.cost.basis}.", ""]
    if ledger.missing:
        lines += [ledger.missing, ""]
    if found:
        lines += [
            "| dataset | published row | ours | metric | published | ours ± half interval (seeds) | gap | verdict | cause |"
        ]
        lines += ["|---|---|---|---|---|---|---|---|---|"]
        lines += [_line(comparison) for comparison in found]
        lines.append("")
    lines += ["What differs from the published protocol:", ""]
    lines += [f"- {deviation}" for deviation in ledger.deviations]
    return "\n".join(lines) + "\n"


def _status(records: Sequence[Record]) -> str:
    return f"{len(records)} records." if records else f"{NOT_RUN}."


def _line(comparison: Comparison) -> str:
    ours, digits = comparison.ours, len(comparison.published.partition(".")[2])
    measured, gap = "", ""
    if ours is not None:
        half = f" ± {ours.half:.{digits}f}" if math.isfinite(ours.half) else ""
        measured, gap = f"{ours.mean:.{digits}f}{half} ({ours.n})", f"{comparison.gap:+.{digits}f}"
    cause = "; ".join(part for part in (*comparison.remarks, comparison.row.cause) if part)
    if not cause and comparison.verdict == "outside its noise":
        cause = "not found"
    cells = (
        *(comparison.dataset, comparison.row.published, f"`{comparison.row.ours}`", comparison.metric.published),
        *(comparison.published, measured, gap, comparison.verdict, cause),
    )
    return f"| {' | '.join(cells)} |"


def _settings(path: Path) -> dict[str, dict[str, Any]]:
    """Dataset → the preset's settings on it, those of the dataset's entry winning."""
    raw = yaml.safe_load(path.read_text(encoding="utf-8"))
    entries: list[dict[str, Any]] = [{"name": entry} if isinstance(entry, str) else entry for entry in raw["datasets"]]
    return {entry["name"]: {**raw.get("settings", {}), **entry.get("settings", {})} for entry in entries}
