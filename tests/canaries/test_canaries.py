"""Committed results stay what they are until the protocol's version is raised, and a change is named."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import pytest

from tests.canaries import canaries


@pytest.fixture(scope="session")
def committed() -> dict[str, Any]:
    content: dict[str, Any] = json.loads(canaries.FILE.read_text(encoding="utf-8"))
    return content


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("canaries")


@pytest.mark.parametrize("case", canaries.CASES)
def test_a_committed_result_is_unchanged(case: str, committed: dict[str, Any], folder: Path) -> None:
    result = canaries.run(case, folder)
    assert canaries.problem(case, result, committed) == ""


def test_a_changed_value_is_named_in_one_sentence(committed: dict[str, Any], folder: Path) -> None:
    case = "hard_sharing on planted"
    changed = copy.deepcopy(canaries.run(case, folder))
    changed["curve"][1]["lr"] *= 1.001
    line = canaries.problem(case, changed, committed)
    assert "lr[1] is" in line and f"PROTOCOL_VERSION is still {committed['protocol_version']}" in line
    raised = canaries.problem(case, changed, committed, version=committed["protocol_version"] + 1)
    assert "write them anew" in raised


def test_a_change_of_bits_alone_is_seen_on_the_machine_that_wrote_them(committed: dict[str, Any], folder: Path) -> None:
    case = "hard_sharing on planted"
    changed = copy.deepcopy(canaries.run(case, folder))
    known = copy.deepcopy(committed)
    known["cases"][case]["hashes"] = {canaries.machine(): canaries.digest(changed)}
    assert canaries.problem(case, changed, known) == ""
    changed["scenes"] = ["another"]
    assert "its hash on this machine" in canaries.problem(case, changed, known)
