"""The sharing plan as a record keeps it."""

from __future__ import annotations

from pydantic import model_validator

from mtlbench.records.model import RecordModel
from mtlbench.records.values import Count, Names, require_shape


class Plan(RecordModel):
    """Which variant of each unit which task runs.

    Attributes:
        depths: names of the units, from the image to the heads.
        tasks: the tasks' names, the table's columns.
        table: depth × task → number of the variant, None where the task skips the unit. Equal numbers share weights.
    """

    depths: Names
    tasks: Names
    table: list[list[Count | None]]

    @model_validator(mode="after")
    def _has_shape(self) -> Plan:
        require_shape("table", self.table, len(self.depths), len(self.tasks))
        return self
