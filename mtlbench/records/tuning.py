"""What a record says of the search for hyper-parameters that its trial belongs to."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from mtlbench.records.model import RecordModel
from mtlbench.records.values import Count, JsonObject


class Tuning(RecordModel):
    """A trial's place in a search.

    Attributes:
        role: `trial`: one of the configurations that are compared on val; `winner`: the configuration with the highest mean
            val skill, trained again on a seed that the search never used. Only winners stand in tables.
        study: 12 hexadecimal digits that all trials and winners of one method's search have in common.
        number: of the configuration: 0 has the defaults, the others are drawn.
        values: what is searched → its value: shared settings by their names, hyper-parameters as they are given.
        space: what is searched → its range in words.
        trials_protocol: protocol id of the study's trials.
        default_protocol: protocol id of the same method without a search, under the experiment's own settings.
        chosen_from: of a winner: the ids of the trials that it was chosen from.
        stopped_after: epochs after which early stopping ended the training; None where it ran to its end.
    """

    role: Literal["trial", "winner"]
    study: str
    number: Count
    values: JsonObject
    space: dict[str, str]
    trials_protocol: str
    default_protocol: str
    chosen_from: list[str] = Field(default_factory=list)
    stopped_after: Count | None = None
