"""Two records of one trial are compared field by field; what differs is named with both values and the likely causes."""

from __future__ import annotations

import math

import numpy as np

from mtlbench.records import Packed, Record
from mtlbench.records.reproduction import compare
from tests.records.test_records import rich_record


def changed() -> Record:
    return rich_record().model_copy(deep=True)


def test_the_same_trial_run_again_is_the_same_whatever_the_clock_says() -> None:
    """An undefined metric (NaN) is equal to itself."""
    again = changed()
    again.measured.training_seconds += 3
    again.provenance.created = "2031-01-01T00:00:00+00:00"
    comparison = compare(rich_record(), again)
    assert not comparison.different
    assert {"method", "protocol", "result.test", "result.images", "result.plan", "result.cost"} <= set(comparison.same)
    assert set(comparison.not_compared) == {"measured.training_seconds", "provenance.created"}


def test_every_value_that_differs_is_named_with_both_values() -> None:
    again = changed()
    again.result.test.metrics["depth"]["abs_err"] *= 2
    again.result.test.metrics["semantic"]["mIoU"] = math.nan
    again.result.cost.updates += 1
    again.result.curve = again.result.curve[:-1]
    different = compare(rich_record(), again).different
    assert set(different) == {"result.test", "result.cost", "result.curve"}
    semantic, depth = different["result.test"]
    assert depth.place == "metrics.depth.abs_err" and depth.text.endswith("(+1e+02 %)")
    assert semantic.place == "metrics.semantic.mIoU" and semantic.text.endswith("→ nan")
    (updates,) = different["result.cost"]
    before = rich_record().result.cost.updates
    assert (updates.place, updates.text) == ("updates", f"{before} → {before + 1}")


def test_arrays_are_compared_image_by_image() -> None:
    first, again = changed(), changed()
    array = np.zeros((4, 3), np.float32)
    array[0] = math.nan
    first.result.images = {"depth": {"error": Packed.pack(array)}}
    other = array.copy()
    other[2] = [0, 0.5, -1]
    again.result.images = {"depth": {"error": Packed.pack(other)}}
    (difference,) = compare(first, again).different["result.images"]
    assert (difference.place, difference.text) == ("depth.error", "1 of 4 images, by 1 at most")
    again.result.images = {"depth": {"error": Packed.pack(array[:2])}}
    assert "[4, 3] → one of [2, 3]" in compare(first, again).different["result.images"][0].text
    again.result.images = {"depth": {"error": Packed(dtype="float32", shape=[4, 3], data="AAAA")}}
    assert "cannot be unpacked" in compare(first, again).different["result.images"][0].text


def test_the_causes_are_named_the_plugins_sources_first() -> None:
    again = changed()
    again.provenance.machine = {**again.provenance.machine, "processor": "another"}
    again.provenance.versions = {**again.provenance.versions, "torch": "9.9"}
    again.provenance.sources = {**again.provenance.sources, "pcgrad": "ffff"}
    again.protocol = {**again.protocol, "version": 99}
    causes = compare(rich_record(), again).causes
    assert [cause.partition(":")[0] for cause in causes] == [
        "source of pcgrad", "protocol", "version of torch", "machine"
    ]  # fmt: skip
    assert "version: " in causes[1] and "→ 99" in causes[1] and causes[2].endswith("→ 9.9")
    assert compare(rich_record(), changed()).causes == []
