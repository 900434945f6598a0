"""Reading golden arrays of layers: features, states and gradients."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeVar

import torch
from numpy.lib.npyio import NpzFile
from torch import Tensor, nn

M = TypeVar("M", bound=nn.Module)


def tensor(file: NpzFile, name: str) -> Tensor:
    """A stored array in double precision."""
    return torch.from_numpy(file[name]).double()


def state(file: NpzFile, prefix: str) -> dict[str, Tensor]:
    """The arrays whose names begin with a prefix, by the rest of their names."""
    return {name.removeprefix(prefix): tensor(file, name) for name in file.files if name.startswith(prefix)}


def load(module: M, values: Mapping[str, Tensor]) -> M:
    """Load all but the counters of batches, of which there are no golden arrays."""
    missing, unexpected = module.double().load_state_dict(dict(values), strict=False)
    assert not unexpected and all(name.endswith("num_batches_tracked") for name in missing)
    return module
