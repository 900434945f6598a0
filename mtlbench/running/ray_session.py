"""A Ray session for a sweep: started or joined, checked for what trials ask for, and ended."""

from __future__ import annotations

import logging
import os
import shutil
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mtlbench.errors import UserError

ENVIRONMENT = {
    # Read when Ray is imported or a tuner is made: no extra loggers, no signal handler, no buffering of results.
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",
    "TUNE_DISABLE_SIGINT_HANDLER": "1",
    "TUNE_RESULT_BUFFER_LENGTH": "1",
    # A trial that ends hands its process to one that waits; with a searcher, Tune lets one wait, and starts new processes.
    "TUNE_MAX_PENDING_TRIALS_PG": "64",
    "RAY_AIR_NEW_OUTPUT": "0",
    "RAY_CHDIR_TO_TRIAL_DIR": "0",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
    "RAY_USAGE_STATS_ENABLED": "0",
}


@dataclass(frozen=True)
class Resources:
    """What one trial gets, and where trials run.

    Attributes:
        cpus, gpus: of one trial; fractions of a GPU are allowed, so that several trials share one.
        address: of a running Ray cluster ("auto" finds one on this machine); None starts one for this sweep.
        retries: how often a trial that crashed is tried again.
    """

    cpus: float = 1.0
    gpus: float = 0.0
    address: str | None = None
    retries: int = 1


@contextmanager
def ray_session(resources: Resources) -> Iterator[None]:
    """Start or join Ray; within the context trials can be scheduled.

    Raises:
        UserError: Ray cannot be started or reached, or no single node has what a trial asks for.
    """
    for name, value in ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    import ray
    from ray.exceptions import RayError

    logging.getLogger("ray").setLevel(logging.CRITICAL)
    options: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.CRITICAL}
    if resources.address is None:
        # "local": without it Ray joins a cluster that runs here, and waits for one that a file of it still names.
        options |= {"address": "local", "include_dashboard": False, "dashboard_host": "127.0.0.1"}
    else:
        options["address"] = resources.address
    try:
        context: Any = ray.init(**options)
    except (RayError, ConnectionError, OSError, RuntimeError, ValueError, AssertionError) as error:
        raise UserError(connection_problem(resources.address, error)) from None
    try:
        check_resources(resources, ray.nodes())
        yield
    finally:
        ray.shutdown()
    # Reached only after a good end: else Ray's logs may say what happened.
    if resources.address is None:
        remove_session(Path(context.address_info["session_dir"]))


def remove_session(folder: Path) -> None:
    """Remove the logs and sockets of a session that has ended, which Ray leaves in the system's temporary folder."""
    shutil.rmtree(folder, ignore_errors=True)
    latest = folder.with_name("session_latest")
    if latest.is_symlink() and latest.readlink().name == folder.name:
        latest.unlink(missing_ok=True)


def connection_problem(address: str | None, error: Exception) -> str:
    """One line on why Ray could not be started or reached, and what to do."""
    reason = " ".join((str(error).strip().splitlines() or [type(error).__name__])[0].split())
    if address is None:
        return f"Ray could not be started on this machine: {reason}. `mtlbench train` runs single trials without it."
    if "token" in str(error).lower() or "auth" in type(error).__name__.lower():
        return (
            f"The Ray cluster at {address!r} asks for a token: {reason}. Set RAY_AUTH_TOKEN, or RAY_AUTH_TOKEN_PATH, to the "
            "cluster's token, or start the cluster with RAY_AUTH_MODE=disabled in a network that you trust."
        )
    return (
        f"The Ray cluster at {address!r} could not be reached: {reason}. Check that it runs (`ray status`) and that it has "
        "the same Ray version as this machine."
    )


def check_resources(resources: Resources, nodes: Iterable[Mapping[str, Any]]) -> None:
    """Refuse a request that no single node can meet: Ray would wait for such a node without an end.

    Args:
        nodes: as `ray.nodes()` describes them.

    Raises:
        UserError: names what is asked for, and the most that a node has.
    """
    alive = [dict(node.get("Resources", {})) for node in nodes if node.get("Alive", True)]
    wanted = {"CPU": resources.cpus, "GPU": resources.gpus}
    if any(all(node.get(name, 0) >= amount for name, amount in wanted.items()) for node in alive):
        return
    for name, option in (("CPU", "--cpus"), ("GPU", "--gpus")):
        most = max((node.get(name, 0) for node in alive), default=0)
        if wanted[name] > most:
            raise UserError(
                f"A trial asks for {wanted[name]:g} {name}s, and no node has more than {most:g}: lower {option}, or add a "
                "node."
            )
    raise UserError(
        f"A trial asks for {resources.cpus:g} CPUs and {resources.gpus:g} GPUs on one node, and no node has both: lower "
        "--cpus or --gpus."
    )
