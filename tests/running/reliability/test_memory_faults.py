"""A trial whose memory runs out is tried once more with twice as many pieces per batch, and its record and note say so."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from mtlbench.errors import UserError
from mtlbench.leaderboard.record_checks import check_file
from mtlbench.records import read
from mtlbench.running.run_trial import run_trial
from mtlbench.running.trial import Trial, evaluation_batch
from mtlbench.training.memory_faults import more_pieces, ran_out_of_memory
from tests.running.reliability.injection import faulty


def test_it_is_tried_again_in_pieces_and_says_so(tmp_path: Path) -> None:
    spec = faulty(tmp_path, "needs_memory")
    notes: list[str] = []
    path = run_trial(spec, tmp_path / "runs", tmp_path / "results", note=notes.append)
    assert notes == ["memory ran out; tried once more with 2 pieces per batch"]
    record = read(path)
    assert (record.id, record.result.micro_batches) == (spec.id, 2)
    assert len(record.result.curve) == 3
    assert record.result.curve[0].training_flops < record.result.curve[2].training_flops / 3, "only later epochs in pieces"
    assert any("batches passed in 2 pieces" in problem for problem in check_file(path))


def test_a_trial_that_goes_on_in_pieces_stays_with_them(tmp_path: Path) -> None:
    spec = faulty(tmp_path, "needs_memory")
    whole = run_trial(spec, tmp_path / "whole", tmp_path / "results-whole")
    first = Trial(spec, tmp_path / "killed").epochs()
    next(first)
    with pytest.raises(torch.OutOfMemoryError):
        next(first)
    next(Trial(spec, tmp_path / "killed", micro_batches=2).epochs())
    resumed = run_trial(spec, tmp_path / "killed", tmp_path / "results-killed")
    assert read(resumed).result == read(whole).result


def test_a_second_time_is_one_line(tmp_path: Path) -> None:
    spec = faulty(tmp_path, "needs_more_memory")
    with pytest.raises(UserError, match=r"memory ran out with 2 pieces per batch, too \(DefaultCPUAllocator") as caught:
        run_trial(spec, tmp_path / "runs", tmp_path / "results")
    assert "\n" not in str(caught.value)


def test_batches_that_cannot_be_cut_are_one_line(tmp_path: Path) -> None:
    spec = faulty(tmp_path, "needs_memory", settings={"batch_size": 3})
    with pytest.raises(UserError, match="batches of 3 images cannot be cut further"):
        run_trial(spec, tmp_path / "runs", tmp_path / "results")


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (torch.cuda.OutOfMemoryError("CUDA out of memory."), True),
        (RuntimeError("CUDA error: out of memory"), True),
        (RuntimeError("[enforce fail at alloc_cpu.cpp:117] DefaultCPUAllocator: can't allocate memory"), True),
        (RuntimeError("DefaultCPUAllocator: not enough memory: you tried to allocate 4 bytes."), True),
        (MemoryError(), True),
        (RuntimeError("shapes do not fit"), False),
        (KeyError("out of memory"), False),
    ],
)
def test_errors_of_memory_are_told_from_others(error: Exception, expected: bool) -> None:
    assert ran_out_of_memory(error) == expected


def test_a_real_allocation_that_fails_is_told() -> None:
    with pytest.raises(RuntimeError) as caught:
        torch.empty(1 << 62, dtype=torch.uint8)
    assert ran_out_of_memory(caught.value)


@pytest.mark.parametrize(("batch_size", "micro_batches", "expected"), [(8, 1, 2), (8, 2, 4), (8, 4, None), (3, 1, None)])
def test_pieces_have_two_images_at_least(batch_size: int, micro_batches: int, expected: int | None) -> None:
    assert more_pieces(batch_size, micro_batches) == expected


def test_evaluation_needs_no_more_memory_than_a_piece(tmp_path: Path) -> None:
    settings = faulty(tmp_path, "needs_memory").settings
    assert evaluation_batch(settings, (32, 64), 1) == 16
    assert evaluation_batch(settings, (32, 64), 2) == 4
