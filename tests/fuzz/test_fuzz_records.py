"""Records, plans and specifications: read, or refused in one line; what is read and written again stays the same."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from mtlbench.networks.plan import SharingPlan
from mtlbench.records import Packed, Plan, Record, as_text, canonical, read, read_all, write
from mtlbench.records.reproduction import compare
from mtlbench.running.trained import read_spec
from tests.fuzz.inputs import accepted, broken, short, texts, values
from tests.leaderboard import fabricate
from tests.records.test_records import rich_record

GOOD: dict[str, Any] = json.loads(as_text(rich_record()))
SPECIFICATION: dict[str, Any] = {
    "method": "equal",
    "hypers": {},
    "data": {"name": "streets", "options": {"height": 32}, "cache": "cache"},
    "seed": 0,
    "settings": {"epochs": 1},
    "precision": "fp32",
    "protocol": {"version": 2},
    "sources": {"equal": "0"},
}


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("fuzz") / "record.json"


def dump(value: Any) -> bytes:
    return json.dumps(value).encode("utf-8", "surrogatepass")


@short
@given(content=st.one_of(st.binary(max_size=60), values.map(str).map(str.encode)))
@example(content=b"[" * 100_000)
@example(content=b'{"schema_version": ' + b"1" * 5000 + b"}")
@example(content=b'{"schema_version": 1, "id": "\\ud800"}')
@example(content=b'{"schema_version": 1, "a\\nb": 0}')
@example(content=b"null")
def test_any_file_is_read_or_refused_in_one_line(content: bytes, place: Path) -> None:
    place.write_bytes(content)
    assert accepted(lambda: read(place)) is None


@short
@given(value=broken(GOOD))
def test_a_broken_record_is_read_or_refused_in_one_line(value: Any, place: Path) -> None:
    try:
        place.write_bytes(dump(value))
    except (ValueError, UnicodeEncodeError):  # a whole number of more digits than Python writes
        return
    record = accepted(lambda: read(place))
    good, refused = read_all([place])
    assert len(good) == (record is not None) and len(refused) == (record is None)
    if record is not None:
        write(place, record)
        written = place.read_bytes()
        write(place, read(place))
        assert place.read_bytes() == written
        assert not compare(record, read(place)).different


floats = st.floats(width=64)
records = st.builds(
    fabricate.record,
    st.sampled_from(["pcgrad", "mtan"]),
    seed=st.integers(0, 99),
    quality=st.floats(-1, 1),
    changed=st.dictionaries(
        st.text(max_size=5), st.one_of(floats, st.integers(-9, 9), st.booleans(), st.none()), max_size=3
    ),
)


@short
@given(record=records, extra=st.dictionaries(st.text(max_size=8), floats, max_size=3))
def test_a_valid_record_written_and_read_again_is_the_same(record: Record, extra: dict[str, float], place: Path) -> None:
    record.result.extra = extra
    write(place, record)
    again = read(place)
    assert canonical(again.model_dump()) == canonical(record.model_dump())
    assert as_text(again) == as_text(record)


@short
@given(
    st.sampled_from(["uint8", "int64", "float32", "float64"]),
    st.lists(st.integers(0, 255), max_size=12),
    st.integers(1, 3),
)
def test_arrays_come_back_as_they_were(dtype: str, numbers: list[int], rows: int) -> None:
    array = np.array(numbers * rows, dtype).reshape(rows, -1)
    assert np.array_equal(Packed.pack(array).unpack(), array)


names = st.lists(st.text(min_size=1, max_size=4), min_size=1, max_size=4, unique=True)


@st.composite
def plans(draw: st.DrawFn) -> dict[str, Any]:
    depths, tasks = draw(names), draw(names)
    entries = st.one_of(st.none(), st.integers(0, 9))
    row = st.lists(entries, min_size=len(tasks), max_size=len(tasks))
    return {"depths": depths, "tasks": tasks, "table": draw(st.lists(row, min_size=len(depths), max_size=len(depths)))}


@short
@given(plans())
def test_a_valid_plan_comes_back_as_it_was(value: dict[str, Any]) -> None:
    plan = SharingPlan.from_json(json.loads(json.dumps(value)))
    assert plan.to_json() == value == Plan.model_validate(value).model_dump()


@short
@given(plans(), st.data())
def test_a_broken_plan_is_read_or_refused_in_one_line(value: dict[str, Any], data: st.DataObject) -> None:
    damaged = data.draw(broken(value))
    plan = accepted(lambda: SharingPlan.from_json(damaged))
    if plan is not None:
        assert SharingPlan.from_json(plan.to_json()) == plan
        plan.is_tree()


@short
@given(value=broken(SPECIFICATION), name=texts)
def test_a_broken_specification_of_a_run_is_read_or_refused_in_one_line(value: Any, name: str, place: Path) -> None:
    try:
        place.with_name("spec.json").write_bytes(dump(value))
    except (ValueError, UnicodeEncodeError):
        return
    spec = accepted(lambda: read_spec(place.parent))
    if spec is not None:
        assert type(spec).model_validate_json(spec.model_dump_json()) == spec
        assert spec.file_name().endswith(f"{spec.id}.json") and "/" not in spec.file_name()
