"""Networks of finished trials, rebuilt: with the selected weights, with those of a kept epoch, or without any."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import nn

from mtlbench.contract import Architecture
from mtlbench.errors import UserError
from mtlbench.measure.prediction_strip import Selected
from mtlbench.planning.trial_spec import TrialSpec
from mtlbench.running.trial import build_network, open_dataset
from mtlbench.training.checkpoints import load


def rebuild_deployed(spec: TrialSpec, structure: Mapping[str, Any]) -> nn.Module:
    """The deployed network of a record's structure, with initial weights; needs no data."""
    registry = spec.registry()
    dataset_class = registry.dataset(spec.data.name).cls
    dataset = dataset_class(Path(spec.data.root) if spec.data.root else None, spec.data.options)
    network = build_network(spec, spec.resolve(registry), dataset)
    network.restore_structure(dict(structure))
    return network.deploy()


def load_selected(folder: Path) -> Selected:
    """A finished trial's network and test images, from the folder of its run (`runs/<id>`).

    Raises:
        UserError: the folder holds no finished trial, or one whose plugins or weights do not fit any more.
    """
    spec_file, weights_file = folder / "spec.json", folder / "selected.pt"
    for file in (spec_file, weights_file):
        if not file.is_file():
            raise UserError(f"{folder} holds no finished trial: there is no {file.name}. Name a folder runs/<id>.")
    spec = TrialSpec.model_validate_json(spec_file.read_text(encoding="utf-8"))
    registry = spec.registry()
    data = open_dataset(spec.data, registry.dataset(spec.data.name).cls)
    network = build_network(spec, spec.resolve(registry), data.dataset)
    try:
        load_weights(network, weights_file)
    except (KeyError, RuntimeError) as error:
        reason = str(error).splitlines()[0]
        raise UserError(
            f"The weights in {weights_file} do not fit {spec.method} as it is now ({reason}). Train it again."
        ) from None
    return Selected(spec.title, spec.data.name, tuple(data.dataset.tasks), network.deploy().eval(), data.splits["test"])


def load_weights(network: Architecture, file: Path) -> None:
    """Give a network the structure and weights that a trial saved (`CheckpointStore.save_selected`, `save_epoch`).

    Raises:
        KeyError, RuntimeError: the file does not fit the network.
    """
    state = load(file, next(network.parameters()).device)
    network.restore_structure(state["structure"])
    network.load_state_dict(state["network"])
