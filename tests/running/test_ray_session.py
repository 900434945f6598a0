"""What a sweep asks of Ray is compared with what there is, and every refusal is one line that says what to do."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from mtlbench.errors import UserError
from mtlbench.running.ray_session import Resources, check_resources, connection_problem, ray_session


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


class FakeRay:
    """Stands in for `ray.init` and `ray.shutdown`: keeps what it was asked for."""

    def __init__(self, session: Path) -> None:
        self.session, self.options = session, dict[str, Any]()

    def init(self, **options: Any) -> SimpleNamespace:
        self.options = options
        return SimpleNamespace(address_info={"session_dir": str(self.session)})


@pytest.fixture
def fake_ray(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakeRay:
    import ray

    session = tmp_path / "ray" / "session_1"
    (session / "logs").mkdir(parents=True)
    session.with_name("session_latest").symlink_to(session)
    fake = FakeRay(session)
    monkeypatch.setattr(ray, "init", fake.init)
    monkeypatch.setattr(ray, "shutdown", lambda: None)
    monkeypatch.setattr(ray, "nodes", lambda: [node(2)])
    return fake


def test_the_dashboard_is_off_and_bound_to_this_machine(fake_ray: FakeRay) -> None:
    with ray_session(Resources()):
        assert fake_ray.options["include_dashboard"] is False
        assert fake_ray.options["dashboard_host"] == "127.0.0.1"


def test_a_session_that_ended_well_leaves_no_file(fake_ray: FakeRay) -> None:
    with ray_session(Resources()):
        assert fake_ray.session.is_dir()
    assert not list(fake_ray.session.parent.iterdir())


def test_the_logs_of_a_session_that_failed_and_those_of_a_cluster_stay(fake_ray: FakeRay) -> None:
    with pytest.raises(KeyError), ray_session(Resources()):
        raise KeyError
    with ray_session(Resources(address="auto")):
        pass
    assert (fake_ray.session / "logs").is_dir() and fake_ray.session.with_name("session_latest").is_symlink()
