"""Record files: canonical JSON, writing once, and reading that says what is wrong with a file."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path

from pydantic import ValidationError

from mtlbench.errors import UserError
from mtlbench.records.atomic import write_new_text, write_text
from mtlbench.records.record import SCHEMA_VERSION, Record


def canonical(value: object) -> str:
    """JSON with sorted keys and no white space: the same value gives the same text, fit for hashing."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=True)


def as_text(record: Record) -> str:
    """A record as its file holds it."""
    return json.dumps(record.model_dump(mode="python"), sort_keys=True, indent=1, allow_nan=True) + "\n"


def write(path: Path, record: Record) -> None:
    """Write a record, in place of what stands there."""
    write_text(path, as_text(record))


def add(path: Path, text: str, force: bool = False) -> None:
    """Write the record of a trial that was run, once.

    A record of the same trial with the same result stays as it is, with what was measured later (latencies). A file that
    is no record is replaced.

    Args:
        text: the record, as `as_text` gives it.
        force: replace what stands there, whatever it is.

    Raises:
        UserError: another result, or another trial's record, stands there.
    """
    if force:
        write_text(path, text)
        return
    if write_new_text(path, text):
        return
    standing, given = _id_and_result(path.read_text(encoding="utf-8", errors="replace")), _id_and_result(text)
    if standing is None:
        write_text(path, text)
    elif standing != given:
        raise UserError(
            f"{path}: another result of trial {standing[0]} stands there and was kept; `mtlbench reproduce` says what "
            "differs when it is repeated, and --force replaces it."
        )


def _id_and_result(text: str) -> tuple[str, str] | None:
    """A record's id and its result; None where the text is no record."""
    try:
        values = json.loads(text)
        return str(values["id"]), canonical(values["result"])
    except (ValueError, KeyError, TypeError, RecursionError):
        return None


def read(path: Path) -> Record:
    """Read one record.

    Raises:
        UserError: not JSON, another schema version, or a field that does not fit: which one, and what was expected.
    """
    try:
        content = path.read_bytes()
        try:
            # Twice as fast as what follows, which finds the words for what is wrong.
            return Record.model_validate_json(content)
        except ValidationError:
            values = json.loads(content)
    except (OSError, ValueError, RecursionError) as error:
        raise UserError(f"{path}: not a readable record ({error}). Remove the file, or run its trial again.") from None
    version = values.get("schema_version") if isinstance(values, dict) else None
    if version != SCHEMA_VERSION:
        raise UserError(
            f"{path}: record schema {version!r}, expected {SCHEMA_VERSION}. Run the trial again with this version."
        )
    try:
        return Record.model_validate(values)
    except ValidationError as error:
        raise UserError(f"{path}: {first_problem(error)}. Run the trial again, or repair the record.") from None


def first_problem(error: ValidationError) -> str:
    """The first of the fields that do not fit, what was expected there, and what stands there if it is short."""
    details = error.errors(include_url=False)[0]
    field = ".".join(str(part) for part in details["loc"])
    message = details["msg"].removeprefix("Value error, ")
    given = details.get("input")
    shown = f", not {given!r}" if isinstance(given, str | int | float) and len(repr(given)) <= 40 else ""
    return f"field {field}: {message}{shown if not details['type'].startswith('value_error') else ''}"


def read_all(paths: Iterable[Path]) -> tuple[list[Record], list[str]]:
    """Read many records: the good ones, sorted by id, and one line for each that was refused."""
    records, refused = [], []
    for path in sorted(paths):
        try:
            records.append(read(path))
        except UserError as error:
            refused.append(str(error))
    return sorted(records, key=lambda record: record.id), refused
