"""Networks of finished trials, rebuilt: with the selected weights, with those of a kept epoch, or without any."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

from pydantic import ValidationError
from torch import nn

from mtlbench.contract import Architecture, Dataset
from mtlbench.errors import UserError
from mtlbench.measure.deployed import deployed
from mtlbench.measure.prediction_strip import Selected
from mtlbench.planning.trial_spec import TrialSpec
from mtlbench.running.trial import build_network, open_dataset
from mtlbench.training.checkpoints import load


def rebuild_deployed(spec: TrialSpec, structure: Mapping[str, Any]) -> nn.Module:
    """The deployed network of a record's structure, with initial weights; needs no data."""
    network = build_network(spec, spec.resolve(spec.registry()), dataset_of(spec))
    network.restore_structure(dict(structure))
    return deployed(network)


def read_spec(folder: Path, trust: bool = False) -> TrialSpec:
    """The specification of a finished trial, from the folder of its run (`runs/<id>`).

    Args:
        trust: the plugins that the file carries may be run. Without it they are run only where the same files are on this
            machine: somebody else's folder must not run code unasked.

    Raises:
        UserError: there is no such file, it is damaged, or it carries plugins that are not on this machine.
    """
    file = folder / "spec.json"
    try:
        spec = TrialSpec.model_validate_json(file.read_text(encoding="utf-8"))
    except OSError:
        raise UserError(f"{folder} holds no finished trial: there is no spec.json. Name a folder runs/<id>.") from None
    except ValidationError as error:
        reason = error.errors()[0]
        place = ".".join(map(str, reason["loc"]))
        raise UserError(f"{file} is damaged ({place}: {reason['msg']}). Train the trial again.") from None
    foreign = [name for name, text in spec.files.items() if not _is_here(Path(name), text)]
    if foreign and not trust:
        raise UserError(
            f"{file} carries code that is not on this machine ({', '.join(Path(name).name for name in foreign)}), and it "
            "would be run: read it there, and give --trust if you trust it."
        )
    return spec


def _is_here(path: Path, text: str) -> bool:
    try:
        return path.read_text(encoding="utf-8") == text
    except (OSError, UnicodeDecodeError):
        return False


def load_selected(folder: Path, trust: bool = False) -> Selected:
    """A finished trial's network and test images, from the folder of its run (`runs/<id>`).

    Args:
        trust: see `read_spec`.

    Raises:
        UserError: the folder holds no finished trial, or one whose plugins or weights do not fit any more.
    """
    spec = read_spec(folder, trust)
    data = open_dataset(spec.data, spec.registry().dataset(spec.data.name).cls)
    network = selected_network(spec, folder, data.dataset)
    return Selected(spec.title, spec.data.name, spec.settings.scored(data.dataset.tasks), network, data.splits["test"])


def selected_network(spec: TrialSpec, folder: Path, dataset: Dataset) -> nn.Module:
    """A finished trial's deployed network with the selected weights, in evaluation mode on the CPU; needs no data.

    Args:
        folder: of its run (`runs/<id>`).

    Raises:
        UserError: there are no weights, or they do not fit the plugins as they are now.
    """
    weights_file = folder / "selected.pt"
    if not weights_file.is_file():
        raise UserError(f"{folder} holds no finished trial: there is no selected.pt. Name a folder runs/<id>.")
    network = build_network(spec, spec.resolve(spec.registry()), dataset)
    try:
        load_weights(network, weights_file)
    except (KeyError, RuntimeError, UnpicklingError) as error:
        reason = str(error).splitlines()[0]
        raise UserError(
            f"The weights in {weights_file} do not fit {spec.method} as it is now ({reason}). Train it again."
        ) from None
    return deployed(network).eval()


def dataset_of(spec: TrialSpec) -> Dataset:
    """A trial's dataset as a plugin: its tasks and its images' size are known, and no file is read."""
    dataset_class = spec.registry().dataset(spec.data.name).cls
    return dataset_class(Path(spec.data.root) if spec.data.root else None, spec.data.options)


def load_weights(network: Architecture, file: Path) -> None:
    """Give a network the structure and weights that a trial saved (`CheckpointStore.save_selected`, `save_epoch`).

    Raises:
        KeyError, RuntimeError: the file does not fit the network.
    """
    state = load(file, next(network.parameters()).device)
    network.restore_structure(state["structure"])
    network.load_state_dict(state["network"])
