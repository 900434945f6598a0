"""Diagnostics of training: they measure what they say and change nothing."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
import torch

from mtlbench.training.diagnostics import Diagnostics
from tests.methods.alternating_network import ADAM, FILE, alternating, stored, stored_batches
from tests.tiny_methods import batches, make, make_run, network, snapshot


def trained(watched: bool) -> tuple[dict[str, Any], Any]:
    net = network()
    strategy = make("equal", net, make_run())
    watch = Diagnostics(net, every=1)
    if watched:
        watch.begin("train", strategy.optimizers.values())
    torch.manual_seed(0)
    for batch in batches(3, {1: ["shape"]}):
        if watched:
            watch.before_step(batch, strategy.optimizers.values())
        strategy.step(batch)
    watch.end_epoch()
    return {**snapshot(net), **{name: value.clone() for name, value in net.named_buffers()}}, watch


def test_changes_nothing() -> None:
    with_it, without = trained(True)[0], trained(False)[0]
    assert all(torch.equal(with_it[name], value) for name, value in without.items())


def test_cosines_are_those_of_the_gradients() -> None:
    net, batch = network(), batches(1)[0]
    watch = Diagnostics(net, every=1)
    watch.begin("train", [])
    watch.before_step(batch, [])
    watch.end_epoch()
    losses = net.losses(batch)
    shared = net.shared_parameters()
    flat = {
        task: torch.cat([g.flatten() for g in torch.autograd.grad(loss, shared, retain_graph=True, materialize_grads=True)])
        for task, loss in losses.items()
    }
    epoch = watch.summary()["epochs"][0]
    expected = float(torch.cosine_similarity(flat["colour"], flat["kind"], dim=0))
    assert epoch["cosine"]["colour|kind"] == pytest.approx(expected, abs=1e-3)
    assert epoch["conflict"]["colour|kind"] == float(expected < 0)
    assert epoch["gradient_norm"]["shape"] == pytest.approx(float(flat["shape"].norm()), rel=1e-3)


def test_summary_is_json_and_leaves_out_what_was_not_measured() -> None:
    watch = trained(True)[1]
    watch.end_epoch()
    summary = json.loads(json.dumps(watch.summary(), allow_nan=False))
    assert summary["epochs"][1]["cosine"]["colour|shape"] is None
    assert -1 <= summary["epochs"][0]["cosine"]["colour|shape"] <= 1
    assert summary["phases"][0]["updates"] == 3
    assert summary["phases"][0]["path_length"] >= summary["phases"][0]["displacement"] > 0


@pytest.mark.parametrize(("kind", "size", "variant"), [("mlp", 1, "IO"), ("mlp", 2, "IUS"), ("cnn", 2, "IO")])
def test_path_and_displacement_golden(kind: str, size: int, variant: str) -> None:
    """Every inner step counts, and BatchNorm's weights do not."""
    key = f"{kind}/size{size}/adam/{variant}"
    net = stored(kind)
    groups = FILE[f"{kind}/size{size}/group_of_task"]
    strategy = alternating(net, ADAM, groups, group_size=size, state="per_group" if variant == "IO" else "shared")
    watch = Diagnostics(net)  # type: ignore[arg-type]
    watch.begin("train", strategy.optimizers.values())
    for number, batch in enumerate(stored_batches(kind)):
        strategy.step(batch)
        phase = watch.summary()["phases"][0]
        updates = strategy.updates_per_step() * (number + 1)
        assert phase["updates"] == updates
        np.testing.assert_allclose(phase["path_length"], FILE[f"{key}/path_length"][updates], rtol=1e-9)
        np.testing.assert_allclose(phase["displacement"], FILE[f"{key}/displacement"][number + 1], rtol=1e-9)


def test_resumes() -> None:
    net = network()
    strategy = make("equal", net, make_run())
    watch = Diagnostics(net, every=2)
    watch.begin("train", strategy.optimizers.values())
    first, second = batches(2)
    watch.before_step(first, strategy.optimizers.values())
    strategy.step(first)
    again = Diagnostics(net, every=2)
    again.begin("train", strategy.optimizers.values())
    again.restore(json.loads(json.dumps({**watch.state(), "first": None})) | {"first": watch.state()["first"]})
    for one in (watch, again):
        one.before_step(second, strategy.optimizers.values())
    strategy.step(second)
    assert again.summary()["phases"] == watch.summary()["phases"]


def test_networks_that_share_nothing_have_nothing_to_show() -> None:
    net = network("single_task")
    watch = Diagnostics(net, every=1)
    optimizers = make("equal", net, make_run()).optimizers.values()
    watch.begin("train", optimizers)
    watch.before_step(batches(1)[0], optimizers)
    watch.end_epoch()
    assert watch.summary()["epochs"][0]["cosine"]["colour|shape"] is None
    assert watch.summary()["phases"][0]["ratio"] is None
