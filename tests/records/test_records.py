"""Records: written and read again they are the same to the byte, and what does not fit is refused."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydantic import ValidationError

from mtlbench.errors import UserError
from mtlbench.records import Artefacts, Latency, Packed, Record, Result, Robustness, canonical, read, read_all, write
from mtlbench.records.values import as_json
from tests.leaderboard import fabricate
from tests.leaderboard.artefacts import GRADIENTS, POLICY, TREE
from tests.leaderboard.fabricate_robustness import robust_record


def rich_record() -> Record:
    """With everything optional that a record can have."""
    record = robust_record("pcgrad", 0)
    record.result.artefacts = Artefacts.model_validate(
        {
            "policy": {**POLICY, "logits": [[1, 2.5]]},
            "merge_tree": TREE,
            "diagnostics": GRADIENTS,
            "task_groups": [{"of": 1}],
        }
    )
    record.result.curve[0].logged = {"temperature": 5.0, "gated blocks": 3, "nested": [1, [2.0, None]]}
    record.result.test.metrics["depth"]["rel_err"] = math.nan
    return record


def test_what_is_read_and_written_again_is_equal_to_the_byte(tmp_path: Path) -> None:
    for record in (rich_record(), fabricate.record(images=3)):
        first, second = tmp_path / "first.json", tmp_path / "second.json"
        write(first, record)
        write(second, read(first))
        assert first.read_bytes() == second.read_bytes()


def test_plain_values_and_models_give_the_same_json() -> None:
    values = json.loads(rich_record().model_dump_json())
    assert canonical(Result(**values["result"]).model_dump()) == canonical(values["result"])


@pytest.mark.parametrize("suite", ["off", "quick"])
def test_keys_that_were_not_given_stay_absent(suite: str) -> None:
    bare: dict[str, Any] = {"suite": suite, "cells": {}, "summary": {}}
    assert Robustness.model_validate(bare).model_dump() == bare
    assert Artefacts().model_dump() == {}
    assert Artefacts.model_validate({"merge_tree": TREE}).model_dump() == {"merge_tree": TREE}
    assert "threads" not in Latency(median=1.0, low=0.9, high=1.1, device="cpu").model_dump()


def test_whole_numbers_stay_whole_and_truth_values_too() -> None:
    dumped = json.dumps(rich_record().model_dump())
    assert '"parameters": 3000000,' in dumped and '"decision": [[false, true], [true, true]]' in dumped
    assert '"gated blocks": 3' in dumped and '"logits": [[1, 2.5]]' in dumped


def test_latencies_are_added_to_a_record_as_plain_values() -> None:
    record = fabricate.record()
    latency: Any = {"8": {"median": 20.0, "low": 19.0, "high": 21.0, "device": "cpu", "threads": 2}}
    record.measured.latency_ms = latency
    assert record.measured.latency_ms["8"].median == 20.0
    assert record.model_dump()["measured"]["latency_ms"] == latency
    latency["8"]["median"] = -1.0
    with pytest.raises(ValidationError):
        record.measured.latency_ms = latency


def test_python_values_become_json() -> None:
    assert as_json({"a": (1, 2.5, None), 3: [True, "x"]}) == {"a": [1, 2.5, None], "3": [True, "x"]}
    for value in ({None: 2}, {"a": {1, 2}}, object(), np.zeros(2)):
        with pytest.raises(ValueError, match=r"key|JSON holds"):
            as_json(value)
    record = fabricate.record(changed={"width": (1, 2)})
    assert record.changed == {"width": [1, 2]}
    artefacts = Artefacts.model_validate({"groups": (("a", "b"), ("c",))})
    assert artefacts.model_dump() == {"groups": [["a", "b"], ["c"]]}
    with pytest.raises(ValidationError, match="no set"):
        Artefacts.model_validate({"groups": {"a"}})


@pytest.mark.parametrize("dtype", ["uint8", "int64", "float32", "float64"])
def test_arrays_are_packed_and_unpacked(dtype: str) -> None:
    array = np.arange(24).reshape(2, 3, 4).astype(dtype)
    unpacked = Packed.model_validate_json(Packed.pack(array).model_dump_json()).unpack()
    assert unpacked.dtype == array.dtype and np.array_equal(unpacked, array)


def test_many_are_read_and_bad_ones_are_named(tmp_path: Path) -> None:
    records = fabricate.sweep(["mtan"])
    fabricate.save(records, tmp_path)
    bad = fabricate.save_changed(fabricate.record("pcgrad"), lambda values: values.pop("seed"), tmp_path)
    (tmp_path / "half.json").write_text("{")
    good, refused = read_all(tmp_path.rglob("*.json"))
    assert good == sorted(records, key=lambda record: record.id)
    assert len(refused) == 2 and any(line.startswith(f"{bad}: field seed: Field required") for line in refused)
    with pytest.raises(UserError, match="not a readable record"):
        read(tmp_path / "nowhere.json")
