"""What all parts of a record have in common: unknown keys are refused, and keys that were not given stay absent."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict, SerializerFunctionWrapHandler, model_serializer


class RecordModel(BaseModel):
    """A part of a record. Every key is written, and no other is read."""

    model_config = ConfigDict(extra="forbid", ser_json_inf_nan="constants")


class SparseModel(RecordModel):
    """A part of a record with optional keys: those that were not given are not written either.

    A record that is read and written again therefore stays equal to the byte.
    """

    @model_serializer(mode="wrap")
    def _without_unset(self, serialize: SerializerFunctionWrapHandler) -> dict[str, Any]:
        return {name: value for name, value in serialize(self).items() if name in self.model_fields_set}
