"""`mtlbench export`: a trained network as a file that runs without mtlbench."""

from __future__ import annotations

import argparse
from pathlib import Path

from rich.console import Console

from mtlbench.cli.predict import add_trained, trained_of


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.description = (
        "Write the network of a finished trial as a PyTorch program (.pt2) or as ONNX (.onnx), for any batch size. The file "
        "is read again and its outputs are compared with the network's; where they differ it is removed."
    )
    parser.add_argument(
        "name", metavar="ID", help="a record's id (or its beginning), its file, or the name of a row of one seed"
    )
    parser.add_argument(
        "out", metavar="OUT", type=Path, help="the file to write: its ending, .pt2 or .onnx, says the format"
    )
    add_trained(parser)


def run(arguments: argparse.Namespace) -> int:
    from mtlbench.api.exporting import BATCHES, TOLERANCE, export

    console = Console(highlight=False, soft_wrap=True)
    trained = trained_of(arguments)
    exported = export(trained, arguments.out)
    height, width = exported.image_size
    gaps = ", ".join(f"{task} {difference:.1g}" for task, difference in exported.differences.items())
    console.print(f"written: {exported.path} ({exported.bytes / 1e6:.1f} MB), {trained.title}")
    console.print(
        f"Compared with the network on batches of {', '.join(map(str, BATCHES))} images: largest difference, as a part of "
        f"the largest output: {gaps} (allowed: {TOLERANCE:g})."
    )
    names = ", ".join(exported.differences)
    console.print(f"Input: image, float32 [batch, 3, {height}, {width}] in [0, 1]; outputs: {names}.", markup=False)
    if exported.path.suffix == ".pt2":
        console.print(f'To use it: torch.export.load("{exported.path}").module()(image)', markup=False)
    else:
        use = f'onnxruntime.InferenceSession("{exported.path}").run(None, {{"image": image}})'
        console.print(f"To use it: {use}", markup=False)
    return 0
