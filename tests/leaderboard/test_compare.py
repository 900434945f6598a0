"""What two records or rows differ in, and one record for a person."""

import io

import numpy as np
import pytest
from rich.console import Console

from mtlbench.errors import UserError
from mtlbench.leaderboard.compare import compare, find
from mtlbench.leaderboard.images import image_noise
from mtlbench.leaderboard.show import show
from mtlbench.records import Packed
from tests.leaderboard import fabricate


def test_configuration_and_result_with_significance():
    first, second = fabricate.sweep(["hard_sharing"]), fabricate.sweep(["mtan"], changed={"width": 0.5})
    report = compare(first, second)
    assert "hard_sharing → mtan" in report and "hypers.width" in report
    assert "B is better" in report and "p = " in report
    assert "abs_err" in report and "not separable" in compare(first, first)


def test_one_seed_is_never_significant():
    report = compare([fabricate.record(seed=0)], [fabricate.record(seed=1)])
    assert "no difference here is called significant" in report and "p = " not in report
    assert "0 → 1" in report


def test_unequal_protocols_are_said():
    other = fabricate.record(card=fabricate.protocol("streets", precision="bf16"))
    report = compare([fabricate.record()], [other])
    assert "not comparable" in report and "protocol.precision" in report


def test_records_are_found_by_id_row_and_file(tmp_path):
    records = fabricate.sweep(["mtan", "pcgrad"])
    fabricate.save(records, tmp_path)
    assert [record.id for record in find(tmp_path, records[0].id[:8])] == [records[0].id]
    assert len(find(tmp_path, "mtan")) == 3
    path = next(tmp_path.rglob(f"{records[1].id}.json"))
    assert find(tmp_path, str(path))[0].id == records[1].id
    with pytest.raises(UserError, match="Did you mean 'mtan'"):
        find(tmp_path, "mtam")
    fabricate.save(fabricate.sweep(["mtan"], ("other",)), tmp_path)
    with pytest.raises(UserError, match="names 2 rows"):
        find(tmp_path, "mtan")
    assert len(find(tmp_path, "mtan", "other")) == 3


def boundary_record(seed, quality):
    """A record whose statistics are those of the boundaries kind, with the metric that belongs to them."""
    torch = pytest.importorskip("torch")
    from mtlbench.tasks import Classification

    task = Classification("digit", 3)
    generator = torch.Generator().manual_seed(seed)
    labels = torch.randint(0, 3, (40,), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
    logits = quality * torch.nn.functional.one_hot(labels.long(), 3) + torch.randn(40, 3, generator=generator)
    statistics = task.statistics(logits, labels.to(getattr(torch, task.dtype)))
    record = fabricate.record(seed=seed)
    card = record.tasks[0].model_copy(update={"name": "digit", "kind": task.kind, "primary": task.primary.name})
    record.tasks = [card]
    record.protocol = {"dataset": {"fingerprint": "0" * 12, "tasks": [task.describe()]}}
    record.result.images = {"digit": {name: Packed.pack(value.numpy()) for name, value in statistics.items()}}
    totals = {name: value.sum(0) for name, value in statistics.items()}
    record.result.test.metrics["digit"] = task.summarise(totals)
    record.result.scenes = [None] * 40
    return record


def test_the_noise_of_the_test_set_is_recomputed_through_the_task():
    first, second = boundary_record(0, 1.0), boundary_record(1, 6.0)
    (found,) = image_noise(first, second, draws=100)
    assert found.reason == "" and found.difference.low > 0
    first.result.test.metrics["digit"][found.metric] += 0.1
    assert "the record says" in image_noise(first, second, draws=10)[0].reason


def test_without_statistics_there_is_a_reason():
    first, second = fabricate.record(), fabricate.record(seed=1)
    assert all("no per-image statistics" in found.reason for found in image_noise(first, second))
    second.result.images = {"depth": {"x": Packed.pack(np.zeros(3))}}
    first.result.images = {"depth": {"x": Packed.pack(np.zeros(4))}}
    assert any("different test images" in found.reason for found in image_noise(first, second))


def test_a_record_is_shown_whole():
    console = Console(width=110, file=io.StringIO(), color_system=None)
    record = fabricate.record("adashare", changed={"width": 0.5})
    console.print(show(record))
    text = console.file.getvalue()
    for word in (
        "adashare on streets",
        record.id,
        "width: 0.5",
        "mIoU",
        "abs_err (m) ↓",
        "sparsity",
        "stage2",
        "·",
        "budget.rule",
    ):
        assert word in text, word


def test_images_of_differently_prepared_data_are_not_paired():
    first, second = boundary_record(0, 1.0), boundary_record(1, 6.0)
    second.protocol["dataset"]["fingerprint"] = "1" * 12
    assert "differently prepared" in image_noise(first, second, draws=10)[0].reason
    for record in (first, second):
        del record.protocol["dataset"]["fingerprint"]
    assert "differently prepared" in image_noise(first, second, draws=10)[0].reason


def test_broken_statistics_are_a_reason_and_no_crash():
    first, second = boundary_record(0, 1.0), boundary_record(1, 6.0)
    packed = next(iter(second.result.images["digit"].values()))
    packed.data = "AAAA"
    assert "cannot be unpacked" in image_noise(first, second, draws=10)[0].reason
