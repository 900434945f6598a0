"""One split of a prepared dataset: batches straight from memory-mapped arrays."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from mtlbench.contract.batch import Batch
from mtlbench.data.transfer import to_device
from mtlbench.tasks.base import Task

CHUNK_BYTES = 256 * 2**20
"""Memory that targets may take while a constant is fitted on them: it must not grow with the image's size."""


class Split:
    """Samples of one split, in the dataset's order.

    Attributes:
        name: `train`, `val`, `test`, or a shifted test set's.
        tasks: the dataset's tasks.
        ids: the samples' names, unique within the split.
        scenes: the scene of each sample, None where unknown.
        images: uint8 [N, H, W, 3], memory-mapped.
        tensors: `"image"` (the same memory) and every stored task's targets [N, *target_shape]; not to be written to.
        labelled: bool [N] per task: which samples have at least one valid element.
        mean: the dataset's mean colour in [0, 1].
        multi_input: True when every task has images of its own.
    """

    def __init__(
        self,
        name: str,
        tasks: Sequence[Task],
        arrays: Mapping[str, NDArray[np.generic]],
        *,
        labelled: Mapping[str, NDArray[np.bool_]],
        ids: Sequence[str],
        scenes: Sequence[str | None],
        mean: Sequence[float],
        multi_input: bool = False,
    ) -> None:
        self.name, self.tasks, self.ids, self.scenes = name, tuple(tasks), tuple(ids), tuple(scenes)
        self.mean, self.multi_input = tuple(mean), multi_input
        self.images = arrays["image"]
        self._arrays = {key: np.asarray(array) for key, array in arrays.items()}
        self.tensors = {key: torch.from_numpy(array) for key, array in self._arrays.items()}
        self.labelled = {key: torch.from_numpy(np.asarray(flags, np.bool_)) for key, flags in labelled.items()}

        self._hides_labels = False

    def __len__(self) -> int:
        return len(self.ids)

    def with_labels(self, labelled: Mapping[str, Tensor]) -> Split:
        """The same samples with labels on these of them only (bool [N] per task): the others' targets are invalid."""
        reduced = copy.copy(self)
        reduced.labelled = dict(labelled)
        reduced._hides_labels = True
        return reduced

    def batch(self, indices: Tensor, device: torch.device | str = "cpu") -> Batch:
        """The samples at the given positions (int64 [B], on the CPU), copied to a device.

        Images become float32 in [0, 1] in channels-last memory. On a GPU copies are asynchronous and images travel as
        bytes.
        """
        device = torch.device(device)
        image = self._image(indices, device)
        stored = {task.name: self._gather(task.name, indices, device) for task in self.tasks if not task.from_image}
        targets = {task.name: image if task.from_image else stored[task.name] for task in self.tasks}
        labelled = {name: flags[indices] for name, flags in self.labelled.items()}
        if self._hides_labels:
            for task in self.tasks:
                if not task.from_image:
                    hidden = to_device(~labelled[task.name], device)
                    target = targets[task.name]
                    target.masked_fill_(hidden.view(-1, *[1] * (target.ndim - 1)), task.invalid)
        rows = None
        if self.multi_input:
            rows = {name: flags.nonzero()[:, 0].to(device) for name, flags in labelled.items()}
        return Batch(image, targets, labelled, indices, rows)

    def _image(self, indices: Tensor, device: torch.device) -> Tensor:
        if device.type == "cpu":
            pixels = np.divide(self._arrays["image"][indices.numpy()], np.float32(255), dtype=np.float32)
            return torch.from_numpy(pixels).permute(0, 3, 1, 2)
        return self._gather("image", indices, device).permute(0, 3, 1, 2).to(torch.float32).div_(255)

    def _gather(self, name: str, indices: Tensor, device: torch.device) -> Tensor:
        if device.type != "cuda":
            # NumPy, because torch's threads are no faster at copying and wait for each other on a busy machine.
            return torch.from_numpy(self._arrays[name][indices.numpy()]).to(device)
        # A copy from page-locked memory runs beside the GPU's work; torch keeps the buffer until the copy is done.
        source = self.tensors[name]
        buffer = torch.empty((len(indices), *source.shape[1:]), dtype=source.dtype, pin_memory=True)
        torch.index_select(source, 0, indices, out=buffer)
        return buffer.to(device, non_blocking=True)

    def chunks(self, task: Task, size: int | None = None) -> Iterator[NDArray[np.generic]]:
        """A task's targets in order, [n ≤ size, *target_shape] at a time; for `Task.fit_constant`.

        Args:
            size: samples at a time; None for 256, or fewer where they need more than `CHUNK_BYTES`.
        """
        if size is None:
            array = self.images if task.from_image else self._arrays[task.name]
            sample = int(np.prod(array.shape[1:], dtype=np.int64)) * (4 if task.from_image else array.itemsize)
            size = min(256, max(1, CHUNK_BYTES // max(sample, 1)))
        for start in range(0, len(self), size):
            if task.from_image:
                image = self.images[start : start + size].transpose(0, 3, 1, 2)
                yield image.astype(np.float32) / np.float32(255)
            else:
                yield np.array(self.tensors[task.name][start : start + size].numpy())
