"""`mtlbench predict`: what a trained network makes of images, as pictures."""

from __future__ import annotations

import argparse
import re
from collections.abc import Sequence
from glob import glob, has_magic
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console

from mtlbench.errors import UserError

if TYPE_CHECKING:
    from mtlbench.api.trained import Trained

ENDINGS = (".png", ".jpg", ".jpeg", ".bmp", ".webp", ".tif", ".tiff", ".ppm", ".pgm")
"""Files that are taken for images where a folder is named."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.description = (
        "Predict on images with the network of a finished trial. Per image: one picture per task at the image's own size, "
        "and a sheet with the image, all outputs and what the colours mean. The network sees the image scaled to the size "
        "that it was trained on."
    )
    parser.add_argument(
        "name", metavar="ID", help="a record's id (or its beginning), its file, or the name of a row of one seed"
    )
    parser.add_argument(
        "images", metavar="IMAGE", nargs="+", help="image files, folders, or patterns such as 'photos/*.jpg'"
    )
    parser.add_argument("--out", type=Path, default=Path("predictions"), help="pictures (default: predictions)")
    parser.add_argument("--task", action="append", default=[], metavar="NAME", help="only this task; may be repeated")
    parser.add_argument("--size", metavar="HxW", help="height and width that the network sees (default: as in training)")
    parser.add_argument("--arrays", action="store_true", help="write the numbers, too: one .npz per image")
    add_trained(parser)


def add_trained(parser: argparse.ArgumentParser) -> None:
    """Where the network of a record is."""
    parser.add_argument("--dataset", "-d", help="the dataset, where a row's name is on several")
    parser.add_argument("--results", type=Path, default=Path("results"), help="records (default: results)")
    parser.add_argument("--runs", type=Path, default=Path("runs"), help="checkpoints of trials (default: runs)")
    parser.add_argument("--trust", action="store_true", help="run plugin code that the run's folder carries")


def trained_of(arguments: argparse.Namespace) -> Trained:
    """The network that arguments of `add_trained` and `name` ask for."""
    from mtlbench.api.trained import Trained

    return Trained.from_record(
        arguments.name,
        runs=arguments.runs,
        results=arguments.results,
        dataset=arguments.dataset,
        trust=arguments.trust,
    )


def run(arguments: argparse.Namespace) -> int:
    files = image_files(arguments.images)
    size = image_size(arguments.size)
    import numpy as np
    from PIL import Image

    from mtlbench.api.images import as_image
    from mtlbench.api.pictures import draw_sheet, output_picture

    console = Console()
    trained = trained_of(arguments)
    make_folder(arguments.out)
    written = 0
    for file, stem in zip(files, unique_names(files), strict=True):
        image = as_image(file)
        outputs = trained.outputs(image, arguments.task or None, size=size)
        lines = []
        for task, output in outputs.items():
            drawn = output_picture(trained.tasks[task], output)
            if isinstance(drawn, str):
                lines.append(f"{task}: {', '.join(drawn.splitlines())}")
            else:
                Image.fromarray(drawn).save(arguments.out / f"{stem}-{plain(task)}.png")
                written += 1
        if arguments.arrays:
            values = trained.predict(image, arguments.task or None, size=size)
            arrays: dict[str, Any] = {task: value.numpy() for task, value in values.items()}
            np.savez_compressed(arguments.out / f"{stem}.npz", **arrays)
            written += 1
        sheet = arguments.out / f"{stem}.png"
        draw_sheet(sheet, f"{file.name}   {trained.title}", image, outputs, trained.tasks)
        written += 1
        console.print(f"{sheet}{'  ' if lines else ''}{'; '.join(lines)}", highlight=False, markup=False, soft_wrap=True)
    console.print(f"{written} files in {arguments.out}, predicted by {trained.title}.", highlight=False, soft_wrap=True)
    return 0


def image_files(names: Sequence[str]) -> list[Path]:
    """The image files that files, folders and patterns name; each once, those of a folder sorted.

    Raises:
        UserError: there is no such file, or no image in a folder.
    """
    files: list[Path] = []
    for name in names:
        path = Path(name).expanduser()
        if path.is_dir():
            inside = sorted(file for file in path.rglob("*") if file.suffix.lower() in ENDINGS)
            if not inside:
                raise UserError(f"{path} has no image: expected files that end in {', '.join(ENDINGS)}.")
            files += inside
        elif path.exists():
            files.append(path)
        elif has_magic(name):
            matching = [Path(file) for file in sorted(glob(str(path), recursive=True)) if Path(file).is_file()]
            if not matching:
                raise UserError(f"No file matches {name!r}.")
            files += matching
        else:
            raise UserError(f"There is no image {path}.")
    return list(dict.fromkeys(files))


def image_size(text: str | None) -> tuple[int, int] | None:
    """(height, width) from `HxW`.

    Raises:
        UserError: another text.
    """
    if text is None:
        return None
    match = re.fullmatch(r"([1-9]\d*)[xX×]([1-9]\d*)", text)
    if match is None:
        raise UserError(f"--size {text!r} is refused: expected height and width, such as 128x256.")
    return int(match[1]), int(match[2])


def unique_names(files: Sequence[Path]) -> list[str]:
    """The files' names without endings; with a number where several files share one."""
    names: list[str] = []
    for file in files:
        name, number = file.stem, 2
        while name in names:
            name, number = f"{file.stem}-{number}", number + 1
        names.append(name)
    return names


def plain(name: str) -> str:
    """A name fit for a file."""
    return re.sub(r"[^\w.+-]", "_", name)


def make_folder(folder: Path) -> None:
    """Make a folder for what is written.

    Raises:
        UserError: it cannot be made.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"The folder {folder} cannot be used ({error.strerror}). Name another one with --out.") from None
