"""Record files: canonical JSON, atomic writing, and reading that says what is wrong with a file."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Iterable
from pathlib import Path

from pydantic import ValidationError

from mtlbench.errors import UserError
from mtlbench.records.record import SCHEMA_VERSION, Record


def canonical(value: object) -> str:
    """JSON with sorted keys and no white space: the same value gives the same text, fit for hashing."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=True)


def write(path: Path, record: Record) -> None:
    """Write a record so that a reader sees the old file or the new one, never half of either."""
    text = json.dumps(record.model_dump(mode="python"), sort_keys=True, indent=1, allow_nan=True)
    write_text(path, text + "\n")


def write_text(path: Path, text: str) -> None:
    """Atomic replacement of a text file; its folder is made if missing."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        os.chmod(temporary, 0o644)
        os.replace(temporary, path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


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
    except (OSError, UnicodeDecodeError, json.JSONDecodeError) as error:
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
