"""Whether the machine that trains is what the trial was planned for: precision, plugins, data."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from mtlbench.config.plugins import Plugin
from mtlbench.errors import UserError
from mtlbench.measure.kernels import gpu_has_bf16
from mtlbench.planning.trial_spec import TrialSpec


def check_precision(spec: TrialSpec, device: torch.device) -> None:
    """Compare what this device can do with what the trial was planned for.

    Raises:
        UserError: `precision = auto` resolved to bf16 where the trial was planned, and this device has none.
    """
    if spec.settings.precision == "auto" and spec.precision == "bf16" and not (device.type == "cuda" and gpu_has_bf16()):
        raise UserError(
            f"{spec.title}: `precision = auto` was planned as bf16, and the device that trains ({device.type}) has none: "
            "give --precision fp32, or use machines of one kind."
        )


def check_sources(spec: TrialSpec, plugins: Sequence[Plugin]) -> None:
    """Compare the plugins on this machine with those that the trial was planned with.

    Raises:
        UserError: a plugin is another one here: the record would claim a source that did not run.
    """
    for plugin in plugins:
        planned = spec.sources.get(plugin.name)
        if planned is not None and planned != plugin.source:
            raise UserError(
                f"{spec.title}: the plugin {plugin.name} ({plugin.path}) is {plugin.source} on this machine, and the trial "
                f"was planned with {planned}: bring the same mtlbench and plugins to all machines."
            )


def check_fingerprint(spec: TrialSpec, fingerprint: str) -> None:
    """Compare the prepared data on this machine with those that the trial was planned with.

    Raises:
        UserError: they are others: the record would claim data that it was not trained on.
    """
    planned = spec.protocol["dataset"]["fingerprint"]
    if planned != fingerprint:
        raise UserError(
            f"{spec.title}: the data prepared on this machine have the fingerprint {fingerprint[:12]}, and the trial was "
            f"planned with {planned[:12]}: bring the same raw files to all machines, or share the cache folder."
        )
