"""Finds the records that a person means by an id, a file or the name of a row."""

from __future__ import annotations

from pathlib import Path

from mtlbench.errors import UserError, did_you_mean
from mtlbench.leaderboard import protocols
from mtlbench.leaderboard.loading import load
from mtlbench.records import Record, read


def find(results: Path, name: str, dataset: str | None = None) -> list[Record]:
    """The records that a person means: a file, an id or the beginning of one, or the name of a leaderboard row.

    A row gives all of its seeds. Where hyper-parameters differ from their defaults, its name may be followed by them, as
    tables print it: `cross_stitch own_weight=0.8`, or `cross_stitch (own_weight=0.8)`.

    Raises:
        UserError: nothing has that name; or several do: which, and how to say it.
    """
    if name.endswith(".json") and Path(name).is_file():
        return [read(Path(name))]
    records = load(results, [dataset] if dataset else None)[0]
    by_id = [record for record in records if record.id.startswith(name)] if len(name) >= 4 else []
    if len(by_id) > 1:
        raise UserError(f"{name!r} begins {len(by_id)} ids: {', '.join(record.id for record in by_id)}. Give more of it.")
    rows: dict[tuple[str, str, str, str], list[Record]] = {}
    for record in records:
        if name in (record.row, *_titles(record)):
            changed, sources = protocols.as_text(record.changed), protocols.as_text(record.provenance.sources)
            rows.setdefault((record.dataset, record.protocol_id, changed, sources), []).append(record)
    if len(rows) > 1:
        described = "; ".join(
            f"{dataset}, protocol {protocol}, {changed}: {group[0].id}"
            for (dataset, protocol, changed, _), group in sorted(rows.items())
        )
        raise UserError(f"{name!r} names {len(rows)} rows ({described}). Name the dataset, or one record by its id.")
    if not by_id and not rows:
        known = {title for record in records for title in (record.id, record.row, *_titles(record)[:1])}
        raise UserError(f"{results} has no record or row {name!r}.{did_you_mean(name, known)}")
    return by_id or next(iter(rows.values()))


def _titles(record: Record) -> list[str]:
    """What tables call the record's row where hyper-parameters differ from their defaults: in pages, in a terminal."""
    settings = ", ".join(f"{name}={protocols.as_text(value)}" for name, value in sorted(record.changed.items()))
    return [f"{record.row} ({settings})", f"{record.row} {settings}"] if settings else []
