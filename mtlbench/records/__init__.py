"""Records: what a finished trial leaves, and all that a leaderboard is drawn from. This room knows nothing else of ours."""

from mtlbench.records.files import canonical, read, read_all, write, write_text
from mtlbench.records.record import (
    SCHEMA_VERSION,
    Cost,
    Evaluation,
    Measured,
    MetricCard,
    Packed,
    Point,
    Provenance,
    Record,
    Result,
    TaskCard,
)

__all__ = [
    "SCHEMA_VERSION",
    "Cost",
    "Evaluation",
    "Measured",
    "MetricCard",
    "Packed",
    "Point",
    "Provenance",
    "Record",
    "Result",
    "TaskCard",
    "canonical",
    "read",
    "read_all",
    "write",
    "write_text",
]
