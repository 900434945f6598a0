"""A trained network from its record: the right weights, any kind of image, outputs at the image's own size."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from mtlbench.api import Trained, decode
from mtlbench.api.images import as_image
from mtlbench.errors import UserError
from mtlbench.measure.evaluator import score
from mtlbench.running.trained import load_selected
from mtlbench.tasks import Attributes, Boundaries, Classification, Depth, Normals, Reconstruction, Segmentation
from tests.finished_trials import finished

BYTES = np.random.default_rng(0).integers(0, 256, (40, 50, 3), dtype=np.uint8)


def trained(**options: Any) -> Trained:
    return Trained.from_record(finished().id, runs=finished().runs, results=finished().results, **options)


def test_the_network_gives_the_record_s_metrics() -> None:
    """The selected weights with their BatchNorm statistics: nothing is left out, and nothing is from another epoch."""
    network, test = trained().network, load_selected(finished().runs / finished().id).test
    with torch.no_grad():
        batch = test.batch(torch.arange(len(test)))
        metrics, _ = score(list(trained().tasks.values()), iter([(batch, network(batch.image, None, None))]))
    expected = finished().records[0].result.test.metrics
    for task, named in expected.items():
        assert metrics[task] == pytest.approx(named, rel=1e-4, nan_ok=True)


def test_a_test_image_is_predicted_as_the_network_predicts_it() -> None:
    one, test = trained(), load_selected(finished().runs / finished().id).test
    batch = test.batch(torch.tensor([2]))
    with torch.no_grad():
        expected = one.network(batch.image, None, None)
    outputs = one.outputs(np.asarray(test.images[2]))
    for task, output in outputs.items():
        torch.testing.assert_close(output, expected[task][0])


def test_every_kind_of_image_gives_the_same(tmp_path: Path) -> None:
    Image.fromarray(BYTES).save(tmp_path / "image.png")
    same: list[Any] = [
        tmp_path / "image.png",
        str(tmp_path / "image.png"),
        Image.fromarray(BYTES),
        BYTES,
        BYTES.astype(np.float32) / 255,
        torch.from_numpy(BYTES),
        torch.from_numpy(BYTES).permute(2, 0, 1),
        torch.from_numpy(BYTES).permute(2, 0, 1).double() / 255,
        np.dstack([BYTES, np.full((40, 50), 9, np.uint8)]),
    ]
    expected = as_image(BYTES)
    assert expected.shape == (3, 40, 50)
    for image in same:
        torch.testing.assert_close(as_image(image), expected)


def test_grey_is_three_equal_channels() -> None:
    grey = as_image(BYTES[..., 0])
    assert grey.shape == (3, 40, 50) and torch.equal(grey[0], grey[2])
    torch.testing.assert_close(as_image(BYTES[..., :1]), grey)


def test_outputs_have_the_image_s_own_size_and_their_units() -> None:
    predicted = trained().predict(BYTES)
    assert {name: tuple(value.shape) for name, value in predicted.items()} == {
        "segmentation": (40, 50), "depth": (40, 50), "normals": (3, 40, 50), "boundaries": (40, 50)
    }  # fmt: skip
    assert predicted["segmentation"].dtype == torch.int64
    torch.testing.assert_close(predicted["normals"].norm(dim=0), torch.ones(40, 50))
    assert float(predicted["boundaries"].min()) >= 0 and float(predicted["boundaries"].max()) <= 1
    assert list(trained().predict(BYTES, ["depth"])) == ["depth"]


def test_the_network_sees_the_size_that_was_asked_for() -> None:
    one = trained()
    sizes = []
    handle = one.network.register_forward_pre_hook(lambda module, given: sizes.append(tuple(given[0].shape)))
    one.predict(BYTES)
    other = one.predict(BYTES, size=(64, 96))
    handle.remove()
    assert sizes == [(1, 3, 32, 64), (1, 3, 64, 96)]
    assert other["depth"].shape == (40, 50)


@pytest.mark.parametrize(
    ("image", "message"),
    [
        (np.zeros((2, 3, 8, 8), np.uint8), r"shape \[2, 3, 8, 8\] is refused: expected one image"),
        (np.zeros((8, 8, 5), np.uint8), r"shape \[8, 8, 5\]"),
        (np.full((8, 8, 3), 2.0), "values from 2 to 2 is refused: expected bytes, or floats in"),
        (np.full((8, 8, 3), np.nan), "values from nan to nan"),
        (np.zeros((8, 8, 3), np.int64), "type torch.int64 is refused"),
        (np.zeros((0, 8, 3), np.uint8), "it has no pixels"),
        (7, "type int is refused"),
        ("nothing.png", "There is no image nothing.png"),
    ],
)
def test_an_image_that_is_none_is_one_line(image: Any, message: str) -> None:
    with pytest.raises(UserError, match=message) as caught:
        trained().predict(image)
    assert "\n" not in str(caught.value)


def test_an_unknown_task_names_the_nearest() -> None:
    with pytest.raises(UserError, match=r"no task 'dept'. Did you mean 'depth'"):
        trained().predict(BYTES, ["dept"])


def test_records_are_found_by_id_beginning_file_and_row(tmp_path: Path) -> None:
    first = finished().records[0]
    (path,) = finished().results.rglob(f"*{first.id}.json")
    for name in (first.id, first.id[:6], path):
        assert Trained.from_record(name, runs=finished().runs, results=finished().results).id == first.id
    assert trained().title == "streets · hard_sharing · seed 0"
    with pytest.raises(UserError, match=r"'hard_sharing' names 2 records: give the id of one, .*seed 0\), .*seed 1\)"):
        Trained.from_record("hard_sharing", runs=finished().runs, results=finished().results)
    with pytest.raises(UserError, match="Did you mean 'hard_sharing'"):
        Trained.from_record("hard_shring", runs=finished().runs, results=finished().results)
    with pytest.raises(UserError, match=r"no trained network 'abcdef' in .*, and no folder of records"):
        Trained.from_record("abcdef", runs=tmp_path / "runs", results=tmp_path / "results")


def test_without_weights_the_way_to_get_them_is_said(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"weights of record \w+ \(hard_sharing on streets, seed 0\) are not in .*reproduce"):
        Trained.from_record(finished().id, runs=tmp_path, results=finished().results)


def test_outputs_of_each_kind_are_decoded() -> None:
    image = torch.tensor([[-2.0, 1.0], [3.0, 0.5]])
    maps = torch.stack([image, -image, image + 1])
    assert decode(Segmentation("s", 3), maps).tolist() == [[1, 2], [2, 2]]
    assert torch.equal(decode(Depth("d"), maps[:1]), image)
    torch.testing.assert_close(decode(Normals("n"), maps).norm(dim=0), torch.ones(2, 2))
    torch.testing.assert_close(decode(Boundaries("b"), maps[:1]), image.sigmoid())
    assert decode(Reconstruction("r"), maps).max() == 1
    assert int(decode(Classification("c", 3), torch.tensor([0.0, 2.0, 1.0]))) == 1
    torch.testing.assert_close(decode(Attributes("a", 2), torch.tensor([0.0, 2.0])), torch.tensor([0.0, 2.0]).sigmoid())
