"""Every method has every property, and each planted fault is found by the property that it breaks."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from types import ModuleType

import pytest

from mtlbench.config.plugins import Registry
from mtlbench.conformance import architectures, declarations, strategies, trials
from mtlbench.conformance.methods import check_method, check_steps, check_trials
from mtlbench.conformance.result import PropertyResult
from mtlbench.contract import UserError
from tests.conformance.faults import FAULTS, IMPORTS, SHARED_TRUNK

REGISTRY = Registry()
METHODS = {name: plugin for name, plugin in REGISTRY.group("methods").items() if not plugin.lacks_package}

SHORT = {"hard_sharing", "adashare", "branched", "alternating", "uncertainty"}
"""Whose trials every run of the tests makes: one phase, several phases, a changing structure, several optimizers, learned
weights. Those of the others take long."""


def failures(results: Iterable[PropertyResult]) -> dict[str, str]:
    return {result.name: result.reason for result in results if result.ok is False}


@pytest.mark.parametrize("name", METHODS)
def test_methods_have_every_property_of_single_steps(name: str) -> None:
    results = list(check_steps(name, REGISTRY))
    assert failures(results) == {}
    optional = {"one_task", "task_order", "loss_scale", "absent_tasks", "jacobian_weights"}
    assert {result.name for result in results if result.ok is None} <= optional


@pytest.mark.parametrize("name", [name if name in SHORT else pytest.param(name, marks=pytest.mark.long) for name in METHODS])
def test_methods_have_every_property_of_trials(name: str) -> None:
    results = list(check_trials(name, REGISTRY))
    assert failures(results) == {}
    assert all(result.ok for result in results)
    assert [result.name for result in results] == [
        "trial", "trained_network", "resume", "repeatable", "global_random_state",
    ]  # fmt: skip


@pytest.mark.parametrize("suites", [(declarations, architectures, trials), (declarations, strategies, trials)])
def test_properties_have_names_of_their_own_and_say_what_they_are_in_a_sentence(suites: tuple[ModuleType, ...]) -> None:
    properties = [each for suite in suites for each in suite.SUITE.properties]
    assert len({each.name for each in properties}) == len(properties)
    assert all(each.description.endswith(".") and "\n" not in each.description for each in properties)


@pytest.fixture(scope="module")
def faulty(tmp_path_factory: pytest.TempPathFactory) -> Registry:
    """All faulty plugins, in a folder outside the repository."""
    folder = tmp_path_factory.mktemp("plugins")
    for name, fault in FAULTS.items():
        (folder / f"{name}_fault.py").write_text(IMPORTS + fault.code, encoding="utf-8")
    (folder / "sound.py").write_text(IMPORTS + SHARED_TRUNK, encoding="utf-8")
    (folder / "unimportable.py").write_text("import no_such_package\n", encoding="utf-8")
    return Registry([folder])


def test_the_architecture_that_faults_are_put_into_is_sound(faulty: Registry) -> None:
    assert failures(list(check_method("sound", faulty))) == {}


@pytest.mark.parametrize("name", FAULTS)
def test_a_fault_is_found_by_the_property_it_breaks(name: str, faulty: Registry) -> None:
    fault = FAULTS[name]
    (result,) = check_method(f"{name}_fault", faulty, only=[fault.property])
    assert result.ok is False
    assert re.search(fault.reason, result.reason), result.reason
    assert "\n" not in result.reason


@pytest.mark.long
@pytest.mark.parametrize("name", FAULTS)
def test_a_fault_is_found_by_no_other_property(name: str, faulty: Registry) -> None:
    """But for those that must fail in consequence."""
    fault = FAULTS[name]
    found = failures((check_method if fault.trials else check_steps)(f"{name}_fault", faulty))
    assert found.keys() - {fault.property} <= fault.others, found


@pytest.mark.parametrize("name", ["hard_sharing", "pcgrad"])
def test_single_properties_can_be_asked_for(name: str) -> None:
    chosen = ["described", "plain_data", "trial"]
    assert [result.name for result in check_method(name, REGISTRY, only=chosen)] == chosen


def test_what_cannot_be_imported_is_the_users_mistake(faulty: Registry) -> None:
    with pytest.raises(UserError, match="no_such_package"):
        list(check_method("unimportable", faulty))
    with pytest.raises(UserError, match="Did you mean 'sound'"):
        list(check_method("soundd", faulty))


def test_the_process_is_left_as_it_was(faulty: Registry) -> None:
    """Global random states, threads and deterministic algorithms are those of before."""
    import gc
    import random

    import numpy as np
    import torch

    def states() -> Iterator[object]:
        yield random.getstate()
        yield str(np.random.get_state())
        yield torch.get_rng_state().tolist()
        yield torch.get_num_threads()
        yield torch.are_deterministic_algorithms_enabled()
        yield gc.get_freeze_count()

    torch.set_num_threads(2)
    before = list(states())
    list(check_method("equal", REGISTRY, only=["random_draws", "trial", "global_random_state"]))
    assert list(states()) == before
