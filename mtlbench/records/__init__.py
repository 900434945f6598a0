"""Records: what a finished trial leaves, and all that a leaderboard is drawn from. This room knows nothing else of ours."""

from mtlbench.records.artefacts import (
    Artefacts,
    GradientDiagnostics,
    GradientEpoch,
    MergeTree,
    Policy,
    PolicyEpoch,
    SimilarityTest,
    TreeFrame,
    WeightTravel,
)
from mtlbench.records.atomic import write_text
from mtlbench.records.evaluation import Evaluation
from mtlbench.records.files import add, as_text, canonical, read, read_all, write
from mtlbench.records.packed import Packed
from mtlbench.records.plan import Plan
from mtlbench.records.record import (
    SCHEMA_VERSION,
    Cost,
    Latency,
    Measured,
    MetricInfo,
    Point,
    Provenance,
    Record,
    Result,
    TaskInfo,
)
from mtlbench.records.robustness import Attacks, Corruption, CorruptionScores, Robustness, Scores
from mtlbench.records.tuning import Tuning

__all__ = [
    "SCHEMA_VERSION",
    "Artefacts",
    "Attacks",
    "Corruption",
    "CorruptionScores",
    "Cost",
    "Evaluation",
    "GradientDiagnostics",
    "GradientEpoch",
    "Latency",
    "Measured",
    "MergeTree",
    "MetricInfo",
    "Packed",
    "Plan",
    "Point",
    "Policy",
    "PolicyEpoch",
    "Provenance",
    "Record",
    "Result",
    "Robustness",
    "Scores",
    "SimilarityTest",
    "TaskInfo",
    "TreeFrame",
    "Tuning",
    "WeightTravel",
    "add",
    "as_text",
    "canonical",
    "read",
    "read_all",
    "write",
    "write_text",
]
