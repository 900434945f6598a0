"""What a sweep asks of Ray is compared with what there is, and every refusal is one line that says what to do."""

from __future__ import annotations

from typing import Any

import pytest

from mtlbench.errors import UserError
from mtlbench.running.ray_session import Resources, check_resources, connection_problem


def node(cpus: float, gpus: float = 0, alive: bool = True) -> dict[str, Any]:
    return {"Alive": alive, "Resources": {"CPU": cpus, **({"GPU": gpus} if gpus else {})}}


@pytest.mark.parametrize(
    ("resources", "nodes"),
    [
        (Resources(cpus=8), [node(4), node(8)]),
        (Resources(cpus=2, gpus=0.5), [node(16), node(4, gpus=1)]),
        (Resources(cpus=1, gpus=0), [node(1)]),
    ],
)
def test_a_request_that_one_node_can_meet_is_accepted(resources: Resources, nodes: list[dict[str, Any]]) -> None:
    check_resources(resources, nodes)


@pytest.mark.parametrize(
    ("resources", "nodes", "message"),
    [
        (Resources(cpus=16), [node(8), node(8)], "asks for 16 CPUs, and no node has more than 8: lower --cpus"),
        (Resources(cpus=16), [node(8), node(16, alive=False)], "no node has more than 8"),
        (Resources(gpus=1), [node(8)], "asks for 1 GPUs, and no node has more than 0: lower --gpus"),
        (Resources(cpus=8, gpus=1), [node(16), node(4, gpus=2)], "no node has both"),
    ],
)
def test_a_request_that_no_single_node_can_meet_is_refused(
    resources: Resources, nodes: list[dict[str, Any]], message: str
) -> None:
    """Two nodes of 8 cores have 16 in all, and a trial of 16 would wait for ever."""
    with pytest.raises(UserError, match=message):
        check_resources(resources, nodes)


@pytest.mark.parametrize(
    ("address", "error", "expected"),
    [
        (None, RuntimeError("no space left\nmore"), "could not be started on this machine: no space left. `mtlbench train`"),
        ("auto", ConnectionError("Could not find any running Ray instance."), "could not be reached: Could not find any"),
        ("head:6379", RuntimeError("Token authentication is enabled"), "Set RAY_AUTH_TOKEN"),
        ("head:6379", ValueError(""), "could not be reached: ValueError. Check that it runs"),
    ],
)
def test_why_ray_cannot_be_used_is_one_line(address: str | None, error: Exception, expected: str) -> None:
    line = connection_problem(address, error)
    assert expected in line
    assert "\n" not in line
