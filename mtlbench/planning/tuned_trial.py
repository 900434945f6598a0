"""An ordinary trial, made part of a search for hyper-parameters: its protocol card says what was searched and how."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from mtlbench.planning.trial_spec import TrialSpec
from mtlbench.records import Tuning, canonical

TUNED = "tuned"
"""What the protocol card says instead of a setting's value where the setting is searched."""


def tuned_protocol(protocol: Mapping[str, Any], card: Mapping[str, Any]) -> dict[str, Any]:
    """A protocol card whose searched settings are "tuned", with the tuning card in it.

    Args:
        card: the tuning card; its `settings` are the searched ones, all of the optimizer.
    """
    optimizer = {**protocol["optimizer"], **dict.fromkeys(card["settings"], TUNED)}
    return dict(json.loads(canonical({**protocol, "optimizer": optimizer, "tuning": dict(card)})))


def part_of_search(trial: TrialSpec, tuning: Tuning, card: Mapping[str, Any]) -> TrialSpec:
    """The trial with its place in a search.

    Args:
        trial: an ordinary trial with the configuration's hyper-parameters and settings.
        card: the tuning card.
    """
    return trial.model_copy(update={"protocol": tuned_protocol(trial.protocol, card), "tuning": tuning})
