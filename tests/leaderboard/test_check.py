"""A contributed record is validated, and what is wrong with it is said in one line."""

import json
import math

import pytest

from mtlbench.leaderboard.check import check_file, problems
from tests.leaderboard import fabricate


def broken(change):
    record = fabricate.record(images=4)
    change(record)
    return list(problems(record))


def test_good_records_have_no_problems(tmp_path):
    for record in fabricate.sweep(images=4):
        assert list(problems(record)) == []
    results = fabricate.save([record], tmp_path)
    (path,) = results.rglob("*.json")
    assert check_file(path) == []


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda r: r.protocol.update(precision="bf16"), "hashes to"),
        (lambda r: setattr(r, "dataset", "../../etc"), "expected letters"),
        (lambda r: r.result.test.metrics["depth"].pop("rel_err"), "rel_err is missing"),
        (lambda r: r.result.test.metrics.pop("depth"), "depth has no metrics"),
        (lambda r: r.result.test.metrics["depth"].update(rel_err=math.inf), "infinite"),
        (lambda r: r.result.test.metrics["semantic"].update(pixel_accuracy=1.2), "better than perfect"),
        (lambda r: r.result.test.skill.update(depth=0.9), "skill of depth is 0.9"),
        (lambda r: setattr(r.result.val, "mean_skill", 0.9), "val: mean_skill"),
        (lambda r: r.result.cost.flops.update(all=0), "flops.all is 0"),
        (lambda r: r.result.cost.parameters.update(shared=10**12), "more are shared"),
        (lambda r: r.result.extra.update(sparsity=math.nan), "sparsity is nan"),
        (lambda r: setattr(r.measured, "training_seconds", -1.0), "training_seconds is negative"),
        (lambda r: r.result.selected.update({next(iter(r.result.selected)): 99}), "epoch 99"),
        (lambda r: setattr(r.result.curve[3], "images", 0), "costs fall"),
        (lambda r: r.provenance.sources.clear(), "sources are missing"),
    ],
)
def test_each_defect_is_named(change, reason):
    found = broken(change)
    assert any(reason in line for line in found), found


def test_a_diverged_network_is_a_result_and_no_defect():
    def diverge(record):
        test = record.result.test
        test.metrics["depth"].update(abs_err=math.nan, rel_err=math.nan)
        test.skill["depth"] = -1.0
        test.mean_skill = sum(test.skill.values()) / 3

    assert broken(diverge) == []


def test_another_version_of_a_plugin_is_reported():
    record = fabricate.record("mtan")
    assert list(problems(record, {"methods/mtan.py": "0" * 16})) == []
    assert "another version" in next(problems(record, {"methods/mtan.py": "1" * 16}))


def test_files_that_do_not_fit_the_schema(tmp_path):
    path = tmp_path / "record.json"
    path.write_text(json.dumps({"schema_version": 99}))
    assert "schema 99, expected 1" in check_file(path)[0]
    raw = fabricate.record().model_dump()
    raw["surprise"] = 1
    path.write_text(json.dumps(raw))
    assert "surprise" in check_file(path)[0]
