"""Types of single values in records, and shapes of tables."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated

from pydantic import Field, GetCoreSchemaHandler, JsonValue, StrictFloat, StrictInt
from pydantic_core import CoreSchema, core_schema

Names = Annotated[list[str], Field(min_length=1)]
"""Names, at least one."""

Count = Annotated[StrictInt, Field(ge=0)]

Number = StrictFloat
"""A number that may be NaN: an undefined result is written so."""

Finite = Annotated[StrictFloat, Field(allow_inf_nan=False)]

Positive = Annotated[StrictFloat, Field(gt=0, allow_inf_nan=False)]

Matrix = list[list[Number]]


def as_json(value: object) -> JsonValue:
    """A value as JSON can hold it: tuples become lists, and whole numbers as keys become texts.

    Raises:
        ValueError: something that JSON has no form for, or text that is not Unicode.
    """
    if value is None or isinstance(value, bool | int | float):
        return value
    if isinstance(value, str):
        try:
            value.encode("utf-8")
        except UnicodeEncodeError:
            # JSON can spell half of a surrogate pair, which no file can be written with.
            raise ValueError("a text in it is not Unicode (half of a surrogate pair)") from None
        return value
    if isinstance(value, Mapping):
        return {_key(key): as_json(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return [as_json(entry) for entry in value]
    raise ValueError(f"JSON holds texts, numbers, true, false, null, lists and objects, and no {type(value).__name__}")


def _key(key: object) -> str:
    if not isinstance(key, str | int) or isinstance(key, bool):
        raise ValueError(f"the key {key!r} is no text, as the keys of JSON objects are")
    return str(as_json(key))


class _AnyJson:
    """Values that are read from JSON need no check; those that Python code hands over go through `as_json`."""

    @classmethod
    def __get_pydantic_core_schema__(cls, source: object, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.json_or_python_schema(
            json_schema=core_schema.any_schema(),
            python_schema=core_schema.no_info_plain_validator_function(as_json),
        )


Json = Annotated[JsonValue, _AnyJson]
"""Any JSON value."""

JsonObject = dict[str, Json]


def require_shape(name: str, table: Sequence[Sequence[object]], rows: int, columns: int) -> None:
    """Check the size of a table.

    Raises:
        ValueError: not rows × columns.
    """
    if len(table) != rows or any(len(row) != columns for row in table):
        raise ValueError(f"`{name}` is expected to be {rows} × {columns}")
