"""A contributed record is validated, and what is wrong with it is said in one line."""

import json
import math

import pytest

from mtlbench.leaderboard.check import check_file, problems, read_checked
from mtlbench.leaderboard.table import boards
from tests.leaderboard import fabricate
from tests.leaderboard.test_conditions import made
from tests.leaderboard.test_tree_picture import MERGED, START, TASKS, TESTED


def broken(change):
    record = fabricate.record(images=4).model_copy(deep=True)
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
        (lambda r: setattr(r, "reference", True), "shares parameters between tasks"),
        (lambda r: [setattr(r, "reference", True), r.result.cost.parameters.update(shared=0)], "shares parameters"),
        (lambda r: r.result.test.metrics["semantic"].update(pixel_accuracy=-0.1), "a fraction cannot be"),
        (lambda r: r.result.test.metrics["normals"].update({"within_11.25": -1.0}), "a fraction cannot be"),
        (lambda r: r.result.test.metrics["depth"].update(rel_err=-0.1), "better than perfect"),
        (lambda r: setattr(r.result.cost, "training_flops", 0), "training_flops is 0"),
        (lambda r: r.result.curve[2].val.skill.update(depth=7.0), "curve, epoch 3: mean_skill"),
        (lambda r: setattr(r.result.curve[2].val, "mean_skill", 0.99), "curve, epoch 3: mean_skill"),
        (lambda r: r.measured.latency_ms["1"].update(median=math.nan), "batch 1: median is nan"),
        (lambda r: r.measured.latency_ms["1"].update(median=0), "median is 0"),
        (lambda r: r.measured.latency_ms["1"].update(median="fast"), "median is 'fast'"),
        (lambda r: r.result.selected.clear(), "its parts are none"),
        (lambda r: setattr(r.result, "selected", {"depth+normals": 9}), "its parts are depth+normals"),
        (lambda r: setattr(r.result, "selected", {"semantic+depth": 9, "depth+normals": 9}), "expected each task in one"),
        (lambda r: r.changed.update(name="\ud800"), "not Unicode"),
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
    assert list(problems(record, {"mtan": "0" * 16})) == []
    assert "another version" in next(problems(record, {"mtan": "1" * 16}))


def test_the_hash_of_its_own_method_must_be_there():
    record = fabricate.record("mtan+pcgrad")
    assert list(problems(record, {"pcgrad": "0" * 16})) == []
    del record.provenance.sources["pcgrad"]
    assert list(problems(record)) == []
    assert "own method pcgrad is missing" in next(problems(record, {}))


def test_a_metric_that_can_be_negative_is_no_fraction():
    def correlate(record):
        for task in record.tasks:
            task.metrics = [
                card.model_copy(update={"name": card.name.replace("pixel_accuracy", "r2")}) for card in task.metrics
            ]
        for evaluation in (record.result.val, record.result.test, *(point.val for point in record.result.curve)):
            evaluation.metrics["semantic"]["r2"] = -0.5

    assert broken(correlate) == []


def test_files_that_do_not_fit_the_schema(tmp_path):
    path = tmp_path / "record.json"
    path.write_text(json.dumps({"schema_version": 99}))
    assert "schema 99, expected 1" in check_file(path)[0]
    raw = fabricate.record().model_dump()
    raw["surprise"] = 1
    path.write_text(json.dumps(raw))
    assert "surprise" in check_file(path)[0]


TREE = {"tasks": TASKS, "units": ["stem", "stage1", "stage2"], "frames": [START, MERGED], "similarity": TESTED}
POLICY = {
    "tasks": ["a", "b"],
    "blocks": ["one", "two"],
    "probability": [[0.1, 0.9], [0.5, 0.5]],
    "decision": [[False, True], [True, True]],
    "correlation": [[1.0, 0.0], [0.0, 1.0]],
    "history": [{"epoch": 1, "gated": 2, "temperature": 5.0, "probability": [[0.1, 0.9], [0.5, 0.5]]}],
}
GRADIENTS = {"epochs": [{"cosine": {"a|b": 0.5, "a|c": None}}]}


def test_good_free_form_parts_have_no_problems():
    record = made("pcgrad", 0)
    record.result.artefacts = {"merge_tree": TREE, "policy": POLICY, "diagnostics": GRADIENTS, "task_groups": "whatever"}
    assert list(problems(record)) == []
    record.result.robustness["cells"]["fog"]["1"]["mean_skill"] = math.nan
    assert list(problems(record)) == []


@pytest.mark.parametrize(
    ("kind", "artefact"),
    [
        *(("policy", wrong) for wrong in ([1], "x", {"tasks": ["a"]}, {**POLICY, "decision": [[True]]})),
        *(("policy", {**POLICY, key: None}) for key in ("tasks", "blocks", "probability", "decision", "correlation")),
        *(("policy", {**POLICY, "history": wrong}) for wrong in ("x", ["x"], [{"epoch": 1}], [{"epoch": 1, "gated": 1}])),
        *(("merge_tree", {**TREE, key: wrong}) for key in ("tasks", "units", "frames") for wrong in (None, [], "x", [1])),
        *(("merge_tree", {**TREE, "frames": [{**START, key: None}]}) for key in ("epoch", "table", "parameters", "flops")),
        *(("merge_tree", {**TREE, "frames": [{**START, key: 0}]}) for key in ("parameters", "flops")),
        ("merge_tree", {**TREE, "frames": [{**START, "table": [[0, 1, None]] * 3}]}),
        *(("merge_tree", {**TREE, "similarity": [{**TESTED[0], key: 5}]}) for key in ("tasks", "unit", "merged", "before")),
        *(("diagnostics", wrong) for wrong in ("x", {"epochs": 5}, {"epochs": [5]}, {"epochs": [{"cosine": {"a": "b"}}]})),
    ],
)
def test_an_artefact_that_cannot_be_drawn_is_named(kind, artefact):
    (found,) = broken(lambda record: record.result.artefacts.update({kind: artefact}))
    assert f"artefacts.{kind}: " in found


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda r: r.pop("cells"), "`cells` is expected"),
        (lambda r: r.update(cells={"fog": 1}), "`cells` is expected"),
        (lambda r: r["cells"].pop("fog"), "not those of its cells"),
        (lambda r: r.update(corruptions=["fog"]), "`corruptions` is expected"),
        (lambda r: r.update(severities="many"), "`severities` is expected"),
        (lambda r: r["cells"]["fog"].pop("3"), "fog has cells at severities 1, 5"),
        (lambda r: r["cells"]["fog"]["3"].pop("mean_skill"), "mean_skill is None"),
        (lambda r: r["cells"]["fog"]["3"].update(mean_skill=1.5), "mean_skill is 1.5"),
        (lambda r: r["cells"]["fog"]["3"].update(mean_skill=-math.inf), "mean_skill is -inf"),
        (lambda r: r["cells"]["fog"]["3"]["skill"].update(depth=1.5), "skill of depth is 1.5"),
        (lambda r: r["cells"]["fog"]["3"].pop("metrics"), "metrics and skill are expected"),
        (lambda r: r["cells"]["fog"]["3"]["metrics"].pop("depth"), "not those of the record"),
        (lambda r: r["cells"]["fog"].update({"3": None}), "metrics and skill are expected"),
        (lambda r: r.update(summary={"mean_skill": "good"}), "`summary` is expected"),
        (lambda r: r.update(worst=3), "`worst` is expected"),
        (lambda r: r.update(pgd=3), "`pgd.attacks` is expected"),
        (lambda r: r["pgd"]["attacks"].update(far={}), "radius 'far' is not a number"),
        (lambda r: r["pgd"]["attacks"]["2"].update(all={}), "PGD 2 on all: metrics and skill are expected"),
    ],
)
def test_robustness_that_cannot_be_drawn_is_named(change, reason):
    record = made("pcgrad", 0)
    change(record.result.robustness)
    found = list(problems(record))
    assert any(reason in line for line in found), found


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda p: p.pop("table"), "`table` is expected to be 4 × 3"),
        (lambda p: p["table"].pop(), "`table` is expected to be 4 × 3"),
        (lambda p: p["table"][0].pop(), "`table` is expected to be 4 × 3"),
        (lambda p: p["table"].__setitem__(0, [0, 1, "x"]), "`table` is expected to be 4 × 3"),
        (lambda p: p["table"].__setitem__(0, [0, 1, -1]), "`table` is expected to be 4 × 3"),
        (lambda p: p.update(depths="stem"), "lists of names"),
        (lambda p: p.update(tasks=["semantic", "depth", "edges"]), "its tasks are semantic, depth, edges"),
        (lambda p: [p.clear(), p.update(x=1)], "lists of names"),
    ],
)
def test_a_plan_that_cannot_be_drawn_is_named(change, reason):
    found = broken(lambda record: change(record.result.plan))
    assert any(reason in line for line in found), found


def test_of_several_files_with_one_id_the_first_created_counts(tmp_path):
    first, second = fabricate.record(created="2025-01-01"), fabricate.record(created="2025-02-01")
    assert first.id == second.id
    fabricate.save([second], tmp_path / "a")
    fabricate.save([first], tmp_path / "b")
    fabricate.save([first], tmp_path / "copy")
    good, refused = read_checked(list(tmp_path.rglob("*.json")))
    assert [record.provenance.created for _, record in good] == ["2025-01-01"]
    (line,) = refused
    assert line.startswith(str(tmp_path / "a")) and first.id in line and str(tmp_path / "b") in line


def test_one_protocol_describes_its_tasks_in_one_way(tmp_path):
    records = [record.model_copy(deep=True) for record in fabricate.sweep(["mtan"])]
    for record in records:
        fabricate.save([record], tmp_path)
    odd = fabricate.record("pcgrad", created="2024-01-01").model_copy(deep=True)
    odd.tasks[1].metrics[1].unit = "km"
    fabricate.save([odd], tmp_path)
    good, refused = read_checked(list(tmp_path.rglob("*.json")))
    assert {record.method for _, record in good} == {"mtan"} and len(good) == 3
    (line,) = refused
    assert odd.id in line and "3 records of the same protocol" in line
    # As many on both sides: the earlier ones count.
    for path, _ in good[1:]:
        path.unlink()
    good, refused = read_checked(list(tmp_path.rglob("*.json")))
    assert [record.method for _, record in good] == ["pcgrad"] and len(refused) == 1


def test_a_method_that_shares_is_never_what_delta_is_measured_against(tmp_path):
    records = [record.model_copy(deep=True) for record in fabricate.sweep(["single_task", "pcgrad"], seeds=4)]
    for record in records:
        record.reference = True
    fabricate.save(records, tmp_path)
    good, refused = read_checked(list(tmp_path.rglob("*.json")))
    assert len(refused) == 4 and all("pcgrad shares parameters" in line for line in refused)
    assert boards(record for _, record in good)[0].tables[0].reference.name == "single_task"
