"""Records packed for a pull request: chosen, checked as a reviewer would, and described."""

from __future__ import annotations

import shutil
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from mtlbench.errors import UserError
from mtlbench.leaderboard import protocols
from mtlbench.leaderboard.board import boards
from mtlbench.leaderboard.markdown import escape
from mtlbench.leaderboard.number_format import number_formats
from mtlbench.leaderboard.record_checks import check_file
from mtlbench.leaderboard.record_consistency import RecordFile, consistent
from mtlbench.records import Record, read

PLACE = "leaderboards/records"
"""Where the records belong in the repository."""


@dataclass(frozen=True)
class Submission:
    """What was packed.

    Attributes:
        files: the record files in the folder.
        rows: how many rows of leaderboards they make.
        remarks: what a reviewer must be told, one sentence each.
    """

    folder: Path
    files: list[Path]
    rows: int
    remarks: list[str]


def pack(
    chosen: Sequence[Path], all_files: Sequence[RecordFile], out: Path, sources: Mapping[str, str], minimum_seeds: int = 3
) -> Submission:
    """Check records and copy them to `out/records/DATASET`, with `out/PULL_REQUEST.md` that describes them.

    The single-task networks that Δ is measured against are added where `all_files` has them.

    Args:
        chosen: files of the records to be sent.
        all_files: all good records that are here.
        out: a folder that is new or empty.
        sources: plugin → hash of its source as it is in this mtlbench; other versions, and other plugins, are named.
        minimum_seeds: rows with fewer are refused.

    Raises:
        UserError: the folder holds something, a record is not fit to be sent, or a row has too few seeds.
    """
    if out.is_dir() and any(out.iterdir()):
        raise UserError(f"{out} holds something already: remove it, or name another folder with --out.")
    files = _checked(chosen, sources)
    known = {record.id for _, record in files}
    protocols_sent = {(record.dataset, record.protocol_id) for _, record in files}
    files += [
        (path, record)
        for path, record in all_files
        if record.reference and record.id not in known and (record.dataset, record.protocol_id) in protocols_sent
    ]
    _require_seeds([record for _, record in files], minimum_seeds)
    remarks = list(_remarks([record for _, record in files], sources))
    copies = [out / "records" / record.dataset / path.name for path, record in files]
    for (path, _), copy in zip(files, copies, strict=True):
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, copy)
    text, rows = _description([record for _, record in files], remarks)
    (out / "PULL_REQUEST.md").write_text(text, encoding="utf-8")
    return Submission(out, copies, rows, remarks)


def _checked(chosen: Sequence[Path], sources: Mapping[str, str]) -> list[RecordFile]:
    problems = [problem for path in chosen for problem in check_file(path, sources)]
    if not problems:
        files, problems = consistent([(path, read(path)) for path in chosen])
    if problems:
        more = f" ({len(problems) - 1} more: `mtlbench leaderboard --check` lists all)" if len(problems) > 1 else ""
        raise UserError(f"{problems[0]}{more}. Nothing was packed.")
    return files


def _require_seeds(records: Sequence[Record], minimum: int) -> None:
    seeds: dict[tuple[str, str, str], set[int]] = defaultdict(set)
    for record in records:
        name = f"{record.row} on {record.dataset}"
        seeds[name, record.protocol_id, protocols.as_text(record.changed)].add(record.seed)
    for (name, protocol, _), own in sorted(seeds.items()):
        if len(own) < minimum:
            raise UserError(
                f"{name} (protocol {protocol}) has {len(own)} seed{'s' if len(own) > 1 else ''}, and {minimum} or more are "
                f"needed: run it with --seeds {minimum}, or say --min-seeds {len(own)}. Nothing was packed."
            )


def _remarks(records: Sequence[Record], sources: Mapping[str, str]) -> list[str]:
    remarks = []
    foreign = sorted({plugin for record in records for plugin in record.provenance.sources if plugin not in sources})
    if foreign:
        remarks.append(f"Not part of mtlbench: {', '.join(foreign)}. Add the plugin's file to the same pull request.")
    edited = sorted({record.provenance.mtlbench for record in records if record.provenance.mtlbench.endswith(".dirty")})
    if edited:
        remarks.append(f"Made with local changes of mtlbench ({', '.join(edited)}): say which.")
    referenced = {(record.dataset, record.protocol_id) for record in records if record.reference}
    for dataset, protocol in sorted({(record.dataset, record.protocol_id) for record in records} - referenced):
        remarks.append(f"No single-task networks of {dataset} under protocol {protocol}: the rows have no Δ.")
    return remarks


def _description(records: Sequence[Record], remarks: Sequence[str]) -> tuple[str, int]:
    """The text of the pull request, and how many rows there are."""
    lines = ["# Results", ""]
    rows = 0
    for board in boards(records):
        for table in board.tables:
            form = number_formats(table)[table.sort]
            heading = table.column(table.sort).title
            lines += [
                f"## {board.dataset}, protocol {table.protocol_id}",
                "",
                f"| row | seeds | {heading} |",
                "|---|---|---|",
            ]
            for row in table.rows:
                lines.append(
                    f"| {escape(row.title)} | {' '.join(map(str, row.seeds))} | {form.cell(row.cells[table.sort])} |"
                )
                rows += 1
            lines.append("")
    machines = sorted({protocols.as_text(record.provenance.machine) for record in records})
    versions = sorted(
        {f"mtlbench {record.provenance.mtlbench}, {protocols.as_text(record.provenance.versions)}" for record in records}
    )
    lines += ["## Made with", "", *(f"- {text}" for text in [*machines, *versions]), ""]
    lines += ["## Remarks", "", *(f"- {remark}" for remark in remarks), ""] if remarks else []
    lines += [
        f"{len(records)} records, checked with `mtlbench submit`. To be added as `{PLACE}/DATASET/*.json`.",
        "Anything unusual about the runs: (please write, or: nothing)",
        "",
    ]
    return "\n".join(lines), rows
