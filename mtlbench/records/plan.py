"""The sharing plan as a record keeps it."""

from __future__ import annotations

from pydantic import Field, model_validator

from mtlbench.records.model import RecordModel, SparseModel
from mtlbench.records.values import Count, Finite, Names, require_shape


class Exchange(RecordModel):
    """An edge of soft sharing: features of one depth that another column reads.

    Attributes:
        depth: position in the plan's depths whose output is passed on.
        source, target: tasks, or names of what belongs to no single task ("expert 1").
        weight: learned; comparable among the edges of one plan.
        since: the depth that a source which is no task begins at.
    """

    depth: Count
    source: str
    target: str
    weight: Finite
    since: Count


class Plan(SparseModel):
    """Which variant of each unit which task runs.

    Attributes:
        depths: names of the units, from the image to the heads.
        tasks: the tasks' names, the table's columns.
        table: depth × task → number of the variant, None where the task skips the unit. Equal numbers share weights.
        exchange: what tasks get from each other or from experts beyond that (soft sharing); not written where there is none.
    """

    depths: Names
    tasks: Names
    table: list[list[Count | None]]
    exchange: list[Exchange] = Field(default_factory=list)

    @model_validator(mode="after")
    def _has_shape(self) -> Plan:
        require_shape("table", self.table, len(self.depths), len(self.tasks))
        if any(not edge.since <= edge.depth < len(self.depths) for edge in self.exchange):
            raise ValueError(f"an edge of `exchange` lies outside of the {len(self.depths)} depths")
        return self
