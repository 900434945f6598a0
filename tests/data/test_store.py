"""The prepared store: exact, checked, atomic, shared by processes."""

import errno
import multiprocessing
import os
import time
from collections.abc import Callable, Mapping
from multiprocessing.queues import Queue
from multiprocessing.synchronize import Barrier
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from mtlbench.contract.dataset import BadSample, Key, Sample
from mtlbench.data import arrays
from mtlbench.data.store import prepare
from mtlbench.errors import UserError
from tests.data.toys import Files, Toy, toy, write_files


def with_faults(faults: Mapping[Key, Sample | Exception]) -> type[Toy]:
    return type("Faulty", (Toy,), {"faults": faults})


def folders(cache: Path) -> list[str]:
    """What a cache holds beside lock files."""
    return sorted(path.name for path in cache.iterdir() if not path.name.endswith(".lock"))


def test_targets_come_back_exactly(tmp_path: Path) -> None:
    dataset = toy()
    prepared = prepare(dataset, "toy", tmp_path)
    assert {name: len(split) for name, split in prepared.splits.items()} == {"train": 12, "val": 4, "test": 5}
    for name, split in prepared.splits.items():
        batch = split.batch(torch.arange(len(split)))
        for number in range(len(split)):
            sample = dataset.load((name, number))
            assert split.ids[number] == f"{name}/{number}" and split.scenes[number] == f"scene {number // 2}"
            image = torch.from_numpy(sample["image"]).permute(2, 0, 1) / 255
            assert torch.equal(batch.image[number], image)
            assert torch.equal(batch.target("image_again")[number], image)
            for task in dataset.tasks:
                if task.from_image:
                    continue
                target = batch.target(task.name)[number].numpy()
                assert target.dtype == np.dtype(task.dtype)
                assert np.array_equal(target, sample.get(task.name, np.full_like(target, task.invalid)))
        assert batch.labelled["depth"].tolist() == [number % 5 != 0 for number in range(len(split))]
        assert batch.labelled["segmentation"].all() and batch.labelled["image_again"].all()


def test_batches_take_any_indices_and_do_not_alias_the_store(tmp_path: Path) -> None:
    split = prepare(toy(), "toy", tmp_path).splits["train"]
    whole = split.batch(torch.arange(12))
    chosen = torch.tensor([7, 0, 7, 11])
    batch = split.batch(chosen)
    assert torch.equal(batch.image, whole.image[chosen]) and torch.equal(batch.index, chosen)
    assert all(torch.equal(batch.targets[name], whole.targets[name][chosen]) for name in batch.targets)
    assert batch.image.is_contiguous(memory_format=torch.channels_last)
    run = split.batch(torch.arange(3, 6))
    for target in run.targets.values():
        target.zero_()
    again = split.batch(torch.arange(3, 6))
    assert all(torch.equal(again.targets[name], whole.targets[name][3:6]) for name in again.targets)


def test_chunks_give_every_target_in_order(tmp_path: Path) -> None:
    prepared = prepare(toy(), "toy", tmp_path)
    split = prepared.splits["train"]
    batch = split.batch(torch.arange(12))
    for task in prepared.dataset.tasks:
        chunks = list(split.chunks(task, size=5))
        assert [len(chunk) for chunk in chunks] == [5, 5, 2]
        assert np.array_equal(np.concatenate(chunks), batch.targets[task.name].numpy())


def test_multi_input_batches_say_whose_rows_are_whose(tmp_path: Path) -> None:
    class Split(Toy):
        multi_input = True

        def make(self, split: str, number: int) -> Sample:
            kept = ("segmentation", "kind")[number % 2]
            return {name: value for name, value in super().make(split, number).items() if name in ("image", kept)}

    batch = prepare(toy(Split), "split", tmp_path).splits["train"].batch(torch.tensor([4, 1, 2, 3]))
    assert batch.rows is not None
    assert batch.rows["segmentation"].tolist() == [0, 2] and batch.rows["kind"].tolist() == [1, 3]
    assert len(batch.target("segmentation")) == 2 and batch.rows["depth"].tolist() == []


def test_threads_change_nothing(tmp_path: Path) -> None:
    threaded = prepare(toy(type("Threaded", (Toy,), {"thread_safe": True})), "toy", tmp_path / "threads")
    plain = prepare(toy(), "toy", tmp_path / "plain")
    assert threaded.fingerprint == plain.fingerprint
    for name, split in plain.splits.items():
        assert split.ids == threaded.splits[name].ids
        for key, tensor in split.tensors.items():
            assert torch.equal(tensor, threaded.splits[name].tensors[key])


def test_prepared_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = prepare(toy(), "toy", tmp_path)
    monkeypatch.setattr(Toy, "load", lambda *_: pytest.fail("prepared twice"))
    second = prepare(toy(), "toy", tmp_path)
    assert second.fingerprint == first.fingerprint and second.folder == first.folder


def test_options_and_versions_change_key_and_fingerprint(tmp_path: Path) -> None:
    class Newer(Toy):
        version = 2

    prints = {prepare(dataset, "toy", tmp_path).fingerprint for dataset in (toy(), toy(shift=1), toy(Newer), toy(size=9))}
    assert len(prints) == 4 == len(folders(tmp_path))


def test_fingerprint_is_that_of_the_files_content_wherever_they_lie(tmp_path: Path) -> None:
    prints = []
    for place in ("a", "b/c"):
        write_files(tmp_path / place)
        prints.append(prepare(toy(Files, tmp_path / place), "files", tmp_path / f"cache-{place[0]}").fingerprint)
    assert prints[0] == prints[1]
    os.utime(tmp_path / "a/train/train0.npy", (1, 1))
    assert prepare(toy(Files, tmp_path / "a"), "files", tmp_path / "cache-a").fingerprint == prints[0]
    np.save(tmp_path / "a/train/train0.npy", np.zeros((8, 8, 3), np.uint8))
    changed = prepare(toy(Files, tmp_path / "a"), "files", tmp_path / "cache-a")
    assert changed.fingerprint != prints[0]
    assert changed.splits["train"].images[0].max() == 0


NAN = np.full((1, 16, 32), np.nan, np.float32)
FAULTS: dict[str, tuple[Sample | Exception, str]] = {
    "range": ({"segmentation": np.full((16, 32), 5, np.uint8)}, "labels out of range: 5"),
    "shape": ({"depth": np.zeros((16, 32), np.float32)}, r"depth is float32 \[16, 32\], expected float32 \[1, 16, 32\]"),
    "dtype": ({"image": np.zeros((16, 32, 3))}, "image is float64"),
    "nan": ({"depth": NAN}, "depth: holds NaN"),
    "negative": ({"depth": np.full_like(NAN, -1)}, "negative"),
    "length": ({"normals": np.full((3, 16, 32), 2, np.float32)}, "expected 1 or 0"),
    "class": ({"kind": np.array(300, np.int16)}, "out of range: 300"),
    "attribute": ({"attributes": np.array([0, 1, 2], np.int8)}, "out of range: 2"),
    "boundary": ({"boundaries": np.full((1, 16, 32), 2, np.uint8)}, "out of range: 2"),
    "unknown": ({"flow": NAN}, "'flow'"),
    "unreadable": (BadSample("x/7.png is cut off"), r"x/7.png is cut off"),
    "missing": (FileNotFoundError(2, "No such file", "x/8.png"), r"x/8.png"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_bad_samples_are_refused_by_name(tmp_path: Path, fault: str) -> None:
    value, message = FAULTS[fault]
    with pytest.raises(UserError, match=f"toy: train train/3 cannot be used: .*{message}.*--skip-bad"):
        prepare(toy(with_faults({("train", 3): value})), "toy", tmp_path)
    assert folders(tmp_path) == []


def test_skipped_samples_are_listed_and_change_the_fingerprint(tmp_path: Path) -> None:
    faulty = toy(with_faults({("train", 3): {"depth": NAN}, ("val", 0): BadSample("y.png is cut off")}))
    good = prepare(toy(), "toy", tmp_path / "good", skip_bad=True)
    assert good.meta["skipped"] == [] and good.fingerprint == prepare(toy(), "toy", tmp_path / "good").fingerprint
    prepared = prepare(faulty, "toy", tmp_path / "bad", skip_bad=True)
    assert prepared.meta["skipped"] == [
        {"split": "train", "id": "train/3", "reason": "depth: holds NaN or infinite values"},
        {"split": "val", "id": "val/0", "reason": "y.png is cut off"},
    ]
    assert prepared.fingerprint != good.fingerprint
    assert len(prepared.splits["train"]) == 11 and "train/3" not in prepared.splits["train"].ids
    assert prepared.meta["samples"] == {"train": 11, "val": 3, "test": 5}
    with pytest.raises(UserError, match="2 samples cannot be used; the first is train train/3"):
        prepare(faulty, "toy", tmp_path / "bad")


def test_a_plugins_own_mistake_is_not_a_bad_sample(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match=r"load\(\('train', 3\)\) failed: KeyError"):
        prepare(toy(with_faults({("train", 3): KeyError("x")})), "toy", tmp_path, skip_bad=True)
    assert folders(tmp_path) == []


@pytest.mark.parametrize("index", [{"train": [1], "test": [2]}, {"train": [1], "val": [], "test": [2]}])
def test_missing_and_empty_splits_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, index: dict[str, list[int]]
) -> None:
    monkeypatch.setattr(Toy, "index", lambda _: index)
    with pytest.raises(UserError, match="no samples for val"):
        prepare(toy(), "toy", tmp_path)


def test_repeated_names_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Toy, "index", lambda _: {"train": [("train", 1)] * 2, "val": [("val", 1)], "test": [("test", 2)]})
    with pytest.raises(UserError, match="2 samples of train are named 'train/1'"):
        prepare(toy(), "toy", tmp_path)


def test_leftovers_of_a_killed_run_are_removed(tmp_path: Path) -> None:
    prepared = prepare(toy(), "toy", tmp_path / "first")
    leftover = tmp_path / "second" / f".{prepared.folder.name}.partial"
    other = tmp_path / "second" / f".toy-{'0' * 16}.partial"
    others = tmp_path / "second" / f".toy-two-{'0' * 16}.partial"
    for folder in (leftover, other, others):
        (folder / "train").mkdir(parents=True)
        (folder / "train" / "image.npy").write_bytes(b"half")
    again = prepare(toy(), "toy", tmp_path / "second")
    assert np.array_equal(again.splits["train"].images, prepared.splits["train"].images)
    assert folders(tmp_path / "second") == [others.name, again.folder.name]


@pytest.mark.parametrize("writes", [0, 1, 30])
def test_a_full_disk_is_said_and_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, writes: int) -> None:
    left = [writes]
    Append = Callable[[arrays.ArrayWriter, NDArray[np.generic]], None]  # noqa: N806

    def append(self: arrays.ArrayWriter, value: NDArray[np.generic], append: Append = arrays.ArrayWriter.append) -> None:
        left[0] -= 1
        if left[0] < 0:
            raise OSError(errno.ENOSPC, "No space left on device")
        append(self, value)

    monkeypatch.setattr(arrays.ArrayWriter, "append", append)
    with pytest.raises(UserError, match=r"disk is full.*takes about .* MB"):
        prepare(toy(), "toy", tmp_path)
    assert folders(tmp_path) == []


def test_a_cache_that_cannot_be_made_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match=r"cache folder .* cannot be used"):
        prepare(toy(), "toy", tmp_path / "file" / "cache")


def test_a_damaged_store_is_said(tmp_path: Path) -> None:
    prepared = prepare(toy(), "toy", tmp_path)
    path = prepared.folder / "train" / "task-depth.npy"
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(UserError, match="damaged"):
        prepare(toy(), "toy", tmp_path)


def test_progress_reaches_its_end(tmp_path: Path) -> None:
    calls: list[tuple[str, int, int]] = []
    write_files(tmp_path / "raw")
    prepare(toy(Files, tmp_path / "raw"), "files", tmp_path, progress=lambda *call: calls.append(call))
    assert [call for call in calls if call[1] == call[2]] == [
        *((split, 4, 4) for split in ("train", "val", "test")),
        ("fingerprint", 12, 12),
    ]


class Slow(Toy):
    def load(self, key: Key) -> Sample:
        time.sleep(0.02)
        with open(os.environ["TOY_LOG"], "a") as log:
            log.write(f"{os.getpid()} {key}\n")
        return super().load(key)


def _prepare(cache: Path, barrier: Barrier, results: "Queue[str]") -> None:
    barrier.wait()
    results.put(prepare(toy(Slow), "toy", cache).fingerprint)


def test_two_processes_share_one_preparation(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TOY_LOG", str(tmp_path / "log"))
    context = multiprocessing.get_context("fork")
    barrier, results = context.Barrier(2), context.Queue()
    workers = [context.Process(target=_prepare, args=(tmp_path / "cache", barrier, results)) for _ in range(2)]
    for worker in workers:
        worker.start()
    prints = {results.get(timeout=60) for _ in workers}
    for worker in workers:
        worker.join(60)
    assert len(prints) == 1 and len(folders(tmp_path / "cache")) == 1
    assert len((tmp_path / "log").read_text().splitlines()) == 12 + 4 + 5


def test_killed_halfway_the_next_run_starts_clean(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TOY_LOG", str(tmp_path / "log"))
    context = multiprocessing.get_context("fork")
    barrier, results = context.Barrier(1), context.Queue()
    worker = context.Process(target=_prepare, args=(tmp_path / "cache", barrier, results))
    worker.start()
    while not (tmp_path / "log").exists():
        time.sleep(0.01)
    worker.kill()
    worker.join(60)
    assert [name for name in folders(tmp_path / "cache") if name.endswith(".partial")]
    prepared = prepare(toy(), "toy", tmp_path / "cache")
    assert folders(tmp_path / "cache") == [prepared.folder.name]
