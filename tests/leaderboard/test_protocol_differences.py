"""What differs between protocol cards: what is missing, empty or null says the same."""

from pydantic import JsonValue

from mtlbench.leaderboard.protocols import ABSENT, differences


def test_missing_empty_and_null_are_no_difference() -> None:
    cards: dict[str, dict[str, JsonValue]] = {
        "a": {"root": None, "options": {}, "lr": 0.1},
        "b": {"lr": 0.2},
        "c": {"options": {"size": 3}, "lr": 0.2},
    }
    assert differences({"a": cards["a"], "b": cards["b"]}) == {"lr": {"a": 0.1, "b": 0.2}}
    assert differences({"b": cards["b"], "c": cards["c"]}) == {"options.size": {"b": ABSENT, "c": 3}}
    assert differences({"a": {"pgd": False}, "b": {}}) == {"pgd": {"a": False, "b": ABSENT}}
