"""What two records or rows differ in, and one record for a person."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rich.console import Console

from mtlbench.errors import UserError
from mtlbench.leaderboard.compare import compare
from mtlbench.leaderboard.find_records import find
from mtlbench.leaderboard.image_bootstrap import image_noise
from mtlbench.leaderboard.show import show
from mtlbench.records import Packed, Record, TaskInfo
from tests.leaderboard import fabricate


def test_configuration_and_result_with_significance() -> None:
    first, second = fabricate.sweep(["hard_sharing"]), fabricate.sweep(["mtan"], changed={"width": 0.5})
    report = compare(first, second)
    assert "hard_sharing → mtan" in report and "hypers.width" in report
    assert "B is better" in report and "p = " in report
    assert "abs_err" in report and "not separable" in compare(first, first)


def test_one_seed_is_never_significant() -> None:
    report = compare([fabricate.record(seed=0)], [fabricate.record(seed=1)])
    assert "no difference here is called significant" in report and "p = " not in report
    assert "0 → 1" in report


def test_unequal_protocols_are_said() -> None:
    other = fabricate.record(card=fabricate.protocol("streets", precision="bf16"))
    report = compare([fabricate.record()], [other])
    assert "not comparable" in report and "protocol.precision" in report


def test_records_are_found_by_id_row_and_file(tmp_path: Path) -> None:
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


IMAGES = 40


def measured_record(kind: str, seed: int, noise: float, size: int = 16, images: int = IMAGES) -> Record:
    """A record with what a task of a kind measured on random test images, predicted with that much noise."""
    torch = pytest.importorskip("torch")
    from mtlbench.tasks import Classification, Depth, Normals, Reconstruction
    from mtlbench.tasks.meter import Meter

    labels, errors = torch.Generator().manual_seed(0), torch.Generator().manual_seed(seed)
    task: Any
    if kind == "classification":
        task = Classification("digit", 3)
        target = torch.randint(0, 3, (images,), generator=labels).to(torch.int16)
        prediction = torch.nn.functional.one_hot(target.long(), 3).float()
    else:
        task = {"depth": Depth, "normals": Normals, "reconstruction": Reconstruction}[kind](kind)
        target = torch.rand((images, task.channels, size, size), generator=labels) + 0.5
        prediction = target.clone()
    prediction += noise * torch.randn(prediction.shape, generator=errors)
    meter = Meter(task, keep_images=True)
    meter.update(prediction, target)
    record = fabricate.record(seed=seed)
    record.tasks = [TaskInfo(name=task.name, kind=kind, metrics=record.tasks[0].metrics, primary=task.primary.name)]
    record.protocol = {"dataset": {"fingerprint": "0" * 12}}
    record.result.images = {task.name: {name: Packed.pack(array) for name, array in meter.images().items()}}
    record.result.test.metrics[task.name] = meter.compute()
    record.result.scenes = [None] * images
    return record


@pytest.mark.parametrize("kind", ["classification", "depth", "normals", "reconstruction"])
def test_the_noise_of_the_test_set_is_recomputed_from_the_images(kind: str) -> None:
    first, second = measured_record(kind, 1, 1.0), measured_record(kind, 2, 0.1)
    (noise,) = image_noise(first, second, draws=100)
    assert noise.reason == "" and noise.difference is not None and noise.difference.n == IMAGES
    recorded = [record.result.test.metrics[noise.task][noise.metric] for record in (first, second)]
    assert noise.difference.mean == pytest.approx(recorded[1] - recorded[0], rel=1e-5)
    better = noise.difference.low > 0 if kind == "classification" else noise.difference.high < 0
    assert better, "much less noise in the predictions is told from that of the test set"
    first.result.test.metrics[noise.task][noise.metric] += 0.1
    assert "the record says" in image_noise(first, second, draws=10)[0].reason


def test_few_scenes_are_said_to_mean_little() -> None:
    first, second = measured_record("depth", 1, 0.5), measured_record("depth", 2, 0.4)
    for scenes, warned in ((9, True), (10, False)):
        first.result.scenes = [f"scene {place % scenes}" for place in range(IMAGES)]
        (noise,) = image_noise(first, second, draws=10)
        assert noise.difference is not None and noise.difference.n == scenes
        assert bool(noise.warning) == warned
        assert ("Only 9 independent scenes: below 10 the interval means little." in compare([first], [second])) == warned


def test_without_statistics_there_is_a_reason() -> None:
    first, second = fabricate.record(), fabricate.record(seed=1)
    assert all("no per-image statistics" in noise.reason for noise in image_noise(first, second))
    second.result.images = {"depth": {"x": Packed.pack(np.zeros(3))}}
    first.result.images = {"depth": {"x": Packed.pack(np.zeros(4))}}
    assert any("different test images" in noise.reason for noise in image_noise(first, second))
    second.result.images = first.result.images
    assert any("cannot be recomputed" in noise.reason for noise in image_noise(first, second))


def test_a_kind_without_a_formula_is_a_reason() -> None:
    first, second = measured_record("depth", 1, 0.5), measured_record("depth", 2, 0.4)
    first.tasks[0].kind = "smell"
    assert image_noise(first, second)[0].reason == "no formula for tasks of kind 'smell'"


def test_a_record_is_shown_whole() -> None:
    output = io.StringIO()
    record = fabricate.record("adashare", changed={"width": 0.5})
    Console(width=110, file=output, color_system=None).print(show(record))
    text = output.getvalue()
    for word in (
        "adashare on streets", record.id, "width: 0.5", "mIoU", "abs_err (m) ↓", "sparsity", "stage2", "·", "budget.rule",
        "latency, batch 1", "8.8 ms on cpu",
    ):  # fmt: skip
        assert word in text, word


def test_images_of_differently_prepared_data_are_not_paired() -> None:
    first, second = measured_record("classification", 1, 1.0), measured_record("classification", 2, 0.1)
    second.protocol = {"dataset": {"fingerprint": "1" * 12}}
    assert "differently prepared" in image_noise(first, second, draws=10)[0].reason
    first.protocol = second.protocol = {"dataset": {}}
    assert "differently prepared" in image_noise(first, second, draws=10)[0].reason


def test_broken_statistics_are_a_reason_and_no_crash() -> None:
    first, second = measured_record("classification", 1, 1.0), measured_record("classification", 2, 0.1)
    packed = next(iter(second.result.images["digit"].values()))
    packed.data = "AAAA"
    assert "cannot be unpacked" in image_noise(first, second, draws=10)[0].reason
