"""Trained networks as files that run without mtlbench: PyTorch's exported programs and ONNX, compared with the original."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from mtlbench.api.trained import Trained
from mtlbench.errors import UserError

TOLERANCE = 1e-4
"""How far outputs may differ, as a part of the largest absolute value of the task's output."""

BATCHES = (1, 2, 5)
"""Batch sizes that are compared; the program is made from a batch of `EXAMPLE`."""

EXAMPLE = 3

Outputs = Callable[[Tensor], Mapping[str, Tensor]]


@dataclass(frozen=True)
class Exported:
    """What was written.

    Attributes:
        path: the file; bytes: its size.
        image_size: (height, width) of the images that it accepts.
        differences: task → the largest difference from the original over all compared batches, as a part of the largest
            absolute value of its output.
    """

    path: Path
    bytes: int
    image_size: tuple[int, int]
    differences: dict[str, float]


class _Named(nn.Module):
    """A network with the image as its only input."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, image: Tensor) -> dict[str, Tensor]:
        outputs: dict[str, Tensor] = self.network(image, None, None)
        return outputs


def export(trained: Trained, path: str | Path) -> Exported:
    """Write a network as `NAME.pt2` (`torch.export`) or `NAME.onnx`, read it again, and compare it with the original.

    It takes `image`, float32 [B, 3, H, W] in [0, 1] of any batch size and the trained size, normalises it by itself, and
    gives one raw output per task (see `mtlbench.api.decode`).

    Raises:
        UserError: another ending, a missing package, a network that cannot be exported, or outputs that differ.
    """
    path = Path(path)
    if path.suffix not in (".pt2", ".onnx"):
        raise UserError(f"{path}: expected a name that ends in .pt2 (PyTorch) or .onnx.")
    network = _Named(trained.network).eval()
    height, width = trained.image_size
    generator = torch.Generator().manual_seed(0)

    def images(count: int) -> Tensor:
        return torch.rand(count, 3, height, width, generator=generator).to(trained.device)

    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"{path} cannot be written ({error.strerror}). Name another file.") from None
    write = _write_onnx if path.suffix == ".onnx" else _write_pt2
    with torch.no_grad():
        exported = write(network, images(EXAMPLE), list(trained.tasks), path)
        differences = _differences(network, exported, [images(count) for count in BATCHES])
    worst = max(differences, key=lambda task: differences[task])
    if not differences[worst] <= TOLERANCE:
        path.unlink(missing_ok=True)
        raise UserError(
            f"{trained.title}: the exported network differs from the original by {differences[worst]:.2g} of the largest "
            f"output ({worst}), and {TOLERANCE:g} is allowed; {path} was removed."
        )
    return Exported(path, path.stat().st_size, trained.image_size, differences)


def _differences(network: Outputs, exported: Outputs, batches: list[Tensor]) -> dict[str, float]:
    """Task → the largest difference over all batches, relative to the largest absolute value of its output."""
    worst: dict[str, float] = {}
    for image in batches:
        expected, given = network(image), exported(image)
        for task, output in expected.items():
            if given[task].shape != output.shape:
                raise UserError(f"The exported network gives {task} as {list(given[task].shape)}, not {list(output.shape)}.")
            gap = float((given[task].to(output) - output).abs().max() / output.abs().max().clamp(min=1e-12))
            worst[task] = max(worst.get(task, 0.0), gap)
    return worst


def _write_pt2(network: nn.Module, example: Tensor, tasks: list[str], path: Path) -> Outputs:
    """Write an exported program, and return it as it is read again."""
    try:
        program = torch.export.export(network, (example,), dynamic_shapes=_dynamic(), strict=False)
    except Exception as error:  # torch raises whatever tracing met
        raise _not_exportable(error) from None
    with warnings.catch_warnings():
        # torch warns of weights that lie in one block of memory; whether they are right is compared below.
        warnings.simplefilter("ignore")
        torch.export.save(program, str(path))
        read: Outputs = torch.export.load(str(path)).module()
    return read


def _write_onnx(network: nn.Module, example: Tensor, tasks: list[str], path: Path) -> Outputs:
    """Write an ONNX file, and return it as ONNX Runtime reads it."""
    try:
        import onnxruntime
        import onnxscript  # noqa: F401  (torch's exporter needs it, and says so in many lines)
    except ImportError as error:
        raise UserError(f"{path}: ONNX needs the package {error.name}: pip install 'mtlbench[onnx]'.") from None
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            torch.onnx.export(
                network, (example,), str(path), input_names=["image"], output_names=tasks, dynamic_shapes=_dynamic(),
                dynamo=True, external_data=False, verbose=False,
            )  # fmt: skip
    except Exception as error:  # torch raises whatever tracing met
        raise _not_exportable(error) from None
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])

    def read(image: Tensor) -> dict[str, Tensor]:
        outputs: list[Any] = session.run(tasks, {"image": image.cpu().numpy()})
        return {task: torch.from_numpy(output) for task, output in zip(tasks, outputs, strict=True)}

    return read


def _dynamic() -> dict[str, dict[int, Any]]:
    """Any batch size, from 1 on."""
    return {"image": {0: torch.export.Dim("batch", min=1)}}


def _not_exportable(error: Exception) -> UserError:
    reason = next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)
    return UserError(f"The network cannot be exported: {type(error).__name__}: {reason[:300]}")
