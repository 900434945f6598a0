"""A contributed record is validated, and what is wrong with it is said in one line."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from mtlbench.leaderboard.record_checks import check_file, problems
from mtlbench.records import Record, read
from tests.leaderboard import fabricate
from tests.leaderboard.artefacts import GRADIENTS, POLICY, START, TEST, TREE
from tests.leaderboard.fabricate_robustness import robust_record


def problems_after(change: Callable[[Record], object]) -> list[str]:
    record = fabricate.record(images=4).model_copy(deep=True)
    change(record)
    return list(problems(record))


def without_shared_parameters(record: Record, reference: bool) -> None:
    record.reference = reference
    record.result.cost.parameters.update(shared=0)


def problem_in_file(change: Callable[[Any], object], folder: Path, record: Record | None = None) -> str:
    """The one line on a file whose JSON was changed."""
    path = fabricate.save_changed(record or robust_record("pcgrad", 0), change, folder)
    (line,) = check_file(path)
    assert line.startswith(f"{path}: ") and "\n" not in line
    return line


def test_good_records_have_no_problems(tmp_path: Path) -> None:
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
        (lambda r: setattr(r.measured, "training_seconds", math.nan), "training_seconds is nan"),
        (lambda r: r.result.selected.update({next(iter(r.result.selected)): 99}), "epoch 99"),
        (lambda r: setattr(r.result.curve[3], "images", 0), "costs fall"),
        (lambda r: r.provenance.sources.clear(), "sources are missing"),
        (lambda r: setattr(r, "reference", True), "shares parameters between tasks"),
        (lambda r: without_shared_parameters(r, reference=True), "shares parameters"),
        (lambda r: r.result.test.metrics["semantic"].update(pixel_accuracy=-0.1), "a fraction cannot be"),
        (lambda r: r.result.test.metrics["normals"].update({"within_11.25": -1.0}), "a fraction cannot be"),
        (lambda r: r.result.test.metrics["depth"].update(rel_err=-0.1), "better than perfect"),
        (lambda r: setattr(r.result.cost, "training_flops", 0), "training_flops is 0"),
        (lambda r: r.result.curve[2].val.skill.update(depth=7.0), "curve, epoch 3: mean_skill"),
        (lambda r: setattr(r.result.curve[2].val, "mean_skill", 0.99), "curve, epoch 3: mean_skill"),
        (lambda r: r.result.selected.clear(), "its parts are none"),
        (lambda r: setattr(r.result, "selected", {"depth+normals": 9}), "its parts are depth+normals"),
        (lambda r: setattr(r.result, "selected", {"semantic+depth": 9, "depth+normals": 9}), "expected each task in one"),
        (lambda r: setattr(r.result.plan, "tasks", ["semantic", "depth", "edges"]), "its tasks are semantic, depth, edges"),
    ],
)
def test_each_defect_is_named(change: Callable[[Record], object], reason: str) -> None:
    lines = problems_after(change)
    assert any(reason in line for line in lines), lines


def test_a_diverged_network_is_a_result_and_no_defect() -> None:
    def diverge(record: Record) -> None:
        test = record.result.test
        test.metrics["depth"].update(abs_err=math.nan, rel_err=math.nan)
        test.skill["depth"] = -1.0
        test.mean_skill = sum(test.skill.values()) / 3

    assert problems_after(diverge) == []


def test_another_version_of_a_plugin_is_reported() -> None:
    record = fabricate.record("mtan")
    assert list(problems(record, {"mtan": "0" * 16})) == []
    assert "another version" in next(problems(record, {"mtan": "1" * 16}))


def test_the_hash_of_its_own_method_must_be_there() -> None:
    record = fabricate.record("mtan+pcgrad")
    assert list(problems(record, {"pcgrad": "0" * 16})) == []
    del record.provenance.sources["pcgrad"]
    assert list(problems(record)) == []
    assert "own method pcgrad is missing" in next(problems(record, {}))


def test_a_metric_that_can_be_negative_is_no_fraction() -> None:
    def correlate(record: Record) -> None:
        for task in record.tasks:
            for metric in task.metrics:
                metric.name = metric.name.replace("pixel_accuracy", "r2")
        evaluations = (record.result.val, record.result.test, *(point.val for point in record.result.curve))
        for evaluation in evaluations:
            if evaluation is not None:
                evaluation.metrics["semantic"]["r2"] = -0.5

    assert problems_after(correlate) == []


def test_files_that_do_not_fit_the_schema(tmp_path: Path) -> None:
    path = tmp_path / "record.json"
    path.write_text(json.dumps({"schema_version": 99}))
    assert "schema 99, expected 1" in check_file(path)[0]
    line = problem_in_file(lambda record: record.update(surprise=1), tmp_path)
    assert "field surprise: " in line and "Run the trial again, or repair the record." in line


def test_a_text_that_no_file_can_hold_is_named(tmp_path: Path) -> None:
    line = problem_in_file(lambda record: record["changed"].update(name="\ud800"), tmp_path)
    assert "field changed" in line and "not Unicode" in line


def test_good_artefacts_and_robustness_have_no_problems(tmp_path: Path) -> None:
    def add_artefacts(record: Any) -> None:
        record["result"]["artefacts"] = {
            "merge_tree": TREE,
            "policy": POLICY,
            "diagnostics": GRADIENTS,
            "task_groups": "whatever",
        }
        record["result"]["robustness"]["cells"]["fog"]["1"]["mean_skill"] = math.nan

    path = fabricate.save_changed(robust_record("pcgrad", 0), add_artefacts, tmp_path)
    assert check_file(path) == []
    assert json.loads(read(path).model_dump_json())["result"]["artefacts"]["policy"] == POLICY


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda latency: latency.update(median=math.nan), "finite number"),
        (lambda latency: latency.update(median=0), "greater than 0, not 0"),
        (lambda latency: latency.update(median="fast"), "valid number, not 'fast'"),
        (lambda latency: latency.pop("median"), "median: Field required"),
    ],
)
def test_a_latency_that_is_no_time_is_named(change: Callable[[Any], object], reason: str, tmp_path: Path) -> None:
    line = problem_in_file(lambda record: change(record["measured"]["latency_ms"]["1"]), tmp_path)
    assert "field measured.latency_ms.1.median" in line and reason in line


@pytest.mark.parametrize(
    ("kind", "artefact"),
    [
        *(("policy", wrong) for wrong in ([1], "x", {"tasks": ["a"]}, {**POLICY, "decision": [[True]]})),
        *(("policy", {**POLICY, key: None}) for key in ("tasks", "blocks", "probability", "decision", "correlation")),
        *(("policy", {**POLICY, key: []}) for key in ("tasks", "blocks", "probability", "decision", "correlation")),
        *(("policy", {**POLICY, key: [["x", "x"]] * 2}) for key in ("probability", "decision", "correlation")),
        *(("policy", {**POLICY, "history": wrong}) for wrong in ("x", ["x"], [{"epoch": 1}], [{"epoch": 1, "gated": 1}])),
        ("policy", {**POLICY, "history": [{**POLICY["history"][0], "gated": -1}]}),
        ("policy", {**POLICY, "history": [{**POLICY["history"][0], "probability": [[0.5]]}]}),
        *(("merge_tree", {**TREE, key: wrong}) for key in ("tasks", "units", "frames") for wrong in (None, [], "x", [1])),
        *(("merge_tree", {**TREE, "frames": [{**START, key: None}]}) for key in ("epoch", "table", "parameters", "flops")),
        *(("merge_tree", {**TREE, "frames": [{**START, key: 0}]}) for key in ("parameters", "flops")),
        ("merge_tree", {**TREE, "frames": [{**START, "table": [[0, 1, None]] * 3}]}),
        ("merge_tree", {**TREE, "frames": [{**START, "table": [[0, 1, 2]] * 2}]}),
        *(("merge_tree", {**TREE, "similarity": [{**TEST, key: 5}]}) for key in ("tasks", "unit", "merged", "before")),
        *(("merge_tree", {**TREE, "similarity": [{**TEST, key: [[1.0]]}]}) for key in ("before", "after")),
        ("merge_tree", {**TREE, "similarity": [{key: value for key, value in TEST.items() if key != "after"}]}),
        *(("diagnostics", wrong) for wrong in ("x", {"epochs": 5}, {"epochs": [5]}, {"epochs": [{"cosine": {"a": "b"}}]})),
    ],
)
def test_an_artefact_that_cannot_be_drawn_is_named(kind: str, artefact: object, tmp_path: Path) -> None:
    line = problem_in_file(lambda record: record["result"]["artefacts"].update({kind: artefact}), tmp_path)
    assert f"artefacts.{kind}" in line


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda r: r.pop("cells"), "robustness.cells: Field required"),
        (lambda r: r.update(cells={"fog": 1}), "robustness.cells.fog: Input should be a valid dictionary, not 1"),
        (lambda r: r["cells"].pop("fog"), "not those of its cells"),
        (lambda r: r.update(corruptions=["fog"]), "robustness.corruptions.0"),
        (lambda r: r["corruptions"][0].pop("label"), "robustness.corruptions.0.label: Field required"),
        (lambda r: r.update(severities="many"), "robustness.severities: Input should be a valid list, not 'many'"),
        (lambda r: r["cells"]["fog"].pop("3"), "fog has cells at severities 1, 5, expected [1, 3, 5]"),
        (lambda r: r["cells"]["fog"]["3"].pop("mean_skill"), "cells.fog.3.mean_skill: Field required"),
        (lambda r: r["cells"]["fog"]["3"].update(mean_skill=1.5), "fog.3.mean_skill: a skill of 1.5, expected −1 to 1"),
        (lambda r: r["cells"]["fog"]["3"].update(mean_skill=-math.inf), "mean_skill: a skill of -inf, expected −1 to 1"),
        (lambda r: r["cells"]["fog"]["3"]["skill"].update(depth=1.5), "cells.fog.3.skill.depth: a skill of 1.5"),
        (lambda r: r["cells"]["fog"]["3"].pop("metrics"), "cells.fog.3.metrics: Field required"),
        (lambda r: r["cells"]["fog"]["3"]["metrics"].update(depth={"abs_err": "x"}), "metrics.depth.abs_err"),
        (lambda r: r["cells"]["fog"]["3"]["metrics"].pop("depth"), "fog at severity 3: its tasks and metrics are not those"),
        (lambda r: r["cells"]["fog"]["3"]["skill"].update(edges=0.5), "fog at severity 3: its tasks and metrics are not"),
        (lambda r: r["cells"]["fog"].update({"3": None}), "robustness.cells.fog.3"),
        (
            lambda r: r.update(summary={"mean_skill": "good"}),
            "summary.mean_skill: Input should be a valid number, not 'good'",
        ),
        (lambda r: r.update(worst=3), "robustness.worst: Input should be a valid string, not 3"),
        (lambda r: r.update(pgd=3), "robustness.pgd"),
        (lambda r: r["pgd"]["attacks"].update(far={}), "the PGD radius 'far' is not a number"),
        (lambda r: r["pgd"]["attacks"]["2"].update(all={}), "pgd.attacks.2.all.metrics: Field required"),
        (lambda r: r["pgd"]["attacks"]["2"]["all"]["metrics"].pop("depth"), "PGD 2 on all: its tasks and metrics are not"),
    ],
)
def test_robustness_that_cannot_be_drawn_is_named(change: Callable[[Any], object], reason: str, tmp_path: Path) -> None:
    assert reason in problem_in_file(lambda record: change(record["result"]["robustness"]), tmp_path)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda p: p.pop("table"), "plan.table: Field required"),
        (lambda p: p["table"].pop(), "`table` is expected to be 4 × 3"),
        (lambda p: p["table"][0].pop(), "`table` is expected to be 4 × 3"),
        (lambda p: p["table"].__setitem__(0, [0, 1, "x"]), "plan.table.0.2: Input should be a valid integer, not 'x'"),
        (lambda p: p["table"].__setitem__(0, [0, 1, -1]), "plan.table.0.2: Input should be greater than or equal to 0"),
        (lambda p: p.update(depths="stem"), "plan.depths: Input should be a valid list, not 'stem'"),
        (lambda p: p.update(tasks=["semantic", "depth", "edges"]), "its tasks are semantic, depth, edges"),
        (lambda p: [p.clear(), p.update(x=1)], "plan.depths: Field required"),
    ],
)
def test_a_plan_that_cannot_be_drawn_is_named(change: Callable[[Any], object], reason: str, tmp_path: Path) -> None:
    assert reason in problem_in_file(lambda record: change(record["result"]["plan"]), tmp_path)
