"""BatchNorm's running statistics: a set for every path through a shared module, and their exact recomputation."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from typing import TypeVar

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from mtlbench.networks.plan import Path

Input = TypeVar("Input")

_BUFFERS = ("running_mean", "running_var", "num_batches_tracked")


def batch_norms(module: nn.Module) -> list[_BatchNorm]:
    """The BatchNorm layers of a module that keep running statistics, in order."""
    return [norm for norm in module.modules() if isinstance(norm, _BatchNorm) and norm.track_running_stats]


class FrozenStatistics(AbstractContextManager[None]):
    """A context within which running statistics stay as they are; it can be entered time and again.

    Args:
        module: what passes through it leaves no trace.
    """

    def __init__(self, module: nn.Module) -> None:
        self.module = module

    def __enter__(self) -> None:
        self.momenta = [(norm, norm.momentum) for norm in batch_norms(self.module)]
        for norm, _ in self.momenta:
            norm.momentum = 0.0

    def __exit__(self, *_: object) -> None:
        for norm, momentum in self.momenta:
            norm.momentum = momentum


class PathStatistics(nn.Module):
    """Further sets of running statistics for modules that several paths run through.

    The first path uses the module's own buffers; every further one has a set here, which takes the place of the module's
    buffers while that path is executed.

    Args:
        paths: path → the module it shares with an earlier path.
    """

    def __init__(self, paths: Mapping[Path, nn.Module]) -> None:
        super().__init__()
        for path, module in paths.items():
            store = nn.Module()
            for number, norm in enumerate(batch_norms(module)):
                for name in _BUFFERS:
                    value = getattr(norm, name)
                    store.register_buffer(f"{name}_{number}", None if value is None else value.clone())
            self.add_module(_key(path), store)

    @contextmanager
    def of(self, path: Path, module: nn.Module) -> Iterator[None]:
        """Within the context `module` reads and updates the statistics of `path`."""
        store = self._modules.get(_key(path)) if self._modules else None
        if store is None:
            yield
            return
        norms = batch_norms(module)
        own = [{name: norm._buffers[name] for name in _BUFFERS} for norm in norms]
        for number, norm in enumerate(norms):
            for name in _BUFFERS:
                norm._buffers[name] = store._buffers[f"{name}_{number}"]
        try:
            yield
        finally:
            for norm, buffers in zip(norms, own, strict=True):
                norm._buffers.update(buffers)


def _key(path: Path) -> str:
    return "path_" + "_".join("s" if entry is None else str(entry) for entry in path)


@torch.no_grad()
def recompute(network: nn.Module, run: Callable[[Input], object], batches: Iterable[Input]) -> None:
    """Replace all running statistics by their exact average over the given batches ("precise BN").

    Wu & Johnson, "Rethinking 'Batch' in BatchNorm", arXiv:2105.07576, section 3. Dropout and the like stay off: only
    BatchNorm layers are put into training mode. A batch that brings a layer fewer than two values per channel (where tasks
    have images of their own, none of a task's may be in it) has no variance and does not count for that layer.

    Args:
        network: its BatchNorm layers are reset and averaged anew, on every path.
        run: what to call with each batch, normally the network itself.
        batches: of training images, as `run` takes them.
    """
    training = network.training
    network.eval()
    norms = batch_norms(network)
    momenta = [norm.momentum for norm in norms]
    for module in network.modules():
        if isinstance(module, PathStatistics):
            _reset(module)
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # cumulative average
    hooks = [norm.register_forward_pre_hook(_count_if_it_varies) for norm in norms]
    try:
        for batch in batches:
            run(batch)
    finally:
        for hook in hooks:
            hook.remove()
        for norm, momentum in zip(norms, momenta, strict=True):
            norm.momentum = momentum
        network.train(training)


def _count_if_it_varies(norm: nn.Module, inputs: tuple[Tensor, ...]) -> None:
    """Let a BatchNorm layer average this input's statistics only where a variance exists."""
    values, channels = inputs[0].numel(), inputs[0].shape[1]
    norm.train(values >= 2 * channels)


def _reset(statistics: PathStatistics) -> None:
    for name, buffer in statistics.named_buffers():
        buffer.fill_(1.0 if "running_var" in name else 0)
