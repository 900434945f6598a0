"""`mtlbench data`: a dataset's card; is the folder whole; prepare it; look at it."""

from __future__ import annotations

import argparse
import textwrap
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

from mtlbench.cli.options import add_dataset_args, add_plugins, announce, assignments
from mtlbench.contract.dataset import Dataset
from mtlbench.data.cache_folder import default_cache
from mtlbench.errors import UserError

_SHOWN = 20
"""Files named before the rest is counted; --all names every one."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.description = (
        "Print a dataset's card: what it is, who may have it, how its files must lie, how its targets are encoded. "
        "With --check: read every file and name what is missing, corrupt or unused. With --prepare: make the arrays "
        "that training reads, and print label statistics. With --show: draw samples of every split with all targets."
    )
    parser.add_argument("name", metavar="NAME", help="a dataset (mtlbench list)")
    parser.add_argument("--data", type=Path, metavar="DIR", help="folder of the dataset's raw files")
    add_dataset_args(parser)
    parser.add_argument("--download", action="store_true", help="get the files into --data, where the licence allows it")
    parser.add_argument("--check", action="store_true", help="read every sample; exit code 1 if one cannot be used")
    parser.add_argument("--prepare", action="store_true", help="prepare the arrays that training reads")
    parser.add_argument(
        "--show",
        type=Path,
        metavar="FILE",
        help="draw samples of every split, into a file such as sheet.png (prepares first)",
    )
    parser.add_argument("--samples", type=int, default=3, help="samples per split that --show draws (default: 3)")
    parser.add_argument("--all", action="store_true", help="name every file that --check reports, not only the first ones")
    parser.add_argument("--skip-bad", action="store_true", help="leave out samples that cannot be read, and list them")
    parser.add_argument("--cache", type=Path, default=default_cache(), help="prepared data (default: ~/.cache/mtlbench)")
    add_plugins(parser)


def run(arguments: argparse.Namespace) -> int:
    from mtlbench.config.plugins import Registry

    if arguments.samples < 1:
        raise UserError(f"--samples = {arguments.samples}: expected at least 1.")
    console = Console(soft_wrap=True, highlight=False, markup=False, emoji=False)
    cls = Registry(arguments.plugins).dataset(arguments.name).cls
    root = arguments.data.expanduser().resolve() if arguments.data else None
    dataset: Dataset = cls(root, cls.configure(assignments(arguments.dataset_arg), arguments.name))
    if arguments.download:
        download(dataset, arguments, console)
    work = arguments.download or arguments.check or arguments.prepare or arguments.show is not None
    print_card(dataset, arguments.name, console)
    if not work:
        print_splits(dataset, arguments.name, console)
        return 0
    usable = check(dataset, arguments, console) if arguments.check else True
    if arguments.prepare or arguments.show is not None:
        prepare_and_show(dataset, arguments, console)
    return 0 if usable else 1


def print_card(dataset: Dataset, name: str, console: Console) -> None:
    """Everything about a dataset that is known without its files."""
    card = dataset.card
    console.print(f"{card.title}\n{'=' * len(card.title)}")
    for word, text in (("", card.summary), ("source", card.source), ("licence", card.licence), ("to get it", card.obtain)):
        if text:
            console.print(_paragraph(word, text))
    if card.tree:
        console.print(f"\nfiles\n{textwrap.indent(card.tree, '    ')}")
    try:
        print_tasks(dataset, console)
        console.print(_paragraph("splits", dataset.split_rule()))
    except UserError:  # tasks and splits that follow from the files
        console.print("\ntasks and splits: those of the files, which are not here")
    augmentation = dataset.augmentation
    zooms = ", ".join(f"{zoom:g}" for zoom in augmentation.zooms)
    console.print(
        f"\naugmentation: zooms {zooms}{', mirrored' if augmentation.flip else ''}"
        if augmentation.active
        else "\naugmentation: none"
    )
    if card.defects:
        console.print("\nto know")
        for defect in card.defects:
            console.print(textwrap.fill(defect, 110, initial_indent="  - ", subsequent_indent="    "))
    if dataset.hypers:
        console.print(f"\noptions: {', '.join(dataset.hypers)} (mtlbench list {name})")


def print_tasks(dataset: Dataset, console: Console) -> None:
    """How images and targets are stored, and what is measured."""
    height, width = dataset.image_size
    each = "; every task has images of its own" if dataset.multi_input else ""
    console.print(f"\ntasks (images of {height}×{width}{each})")
    longest = max(len(task.name) for task in dataset.tasks)
    for task in dataset.tasks:
        target = "the image itself" if task.from_image else f"{task.dtype} {list(task.target_shape(height, width))}"
        unlabelled = "" if task.from_image else f", {task.invalid:g} unlabelled"
        metrics = ", ".join(f"{metric.name} {metric.arrow}" for metric in task.metrics)
        console.print(f"    {task.name:{longest}}  {task.kind}, {task.channels} channels; {target}{unlabelled}; {metrics}")


def print_splits(dataset: Dataset, name: str, console: Console) -> None:
    """How many samples there are, or that the files are not there."""
    try:
        index = dataset.index()
    except UserError as error:
        console.print(f"\nnot here: {str(error).splitlines()[0]}")
        return
    console.print(f"\nsamples: {', '.join(f'{split} {len(keys):,}' for split, keys in index.items())}")
    console.print(f"`mtlbench data {name} --check` reads them all; `--show sheet.png` draws some.")


def download(dataset: Dataset, arguments: argparse.Namespace, console: Console) -> None:
    """Get the raw files that may be had directly.

    Raises:
        UserError: there are none, or the download failed.
    """
    from mtlbench.data.download import fetch_all

    downloads = dataset.downloads()
    if not downloads:
        how = dataset.card.obtain or "It needs no files."
        raise UserError(f"{arguments.name} cannot be downloaded directly. {how}")
    folder = (arguments.data or Path("data")).expanduser().resolve()
    with _progress(arguments.name) as progress:
        fetch_all(downloads, folder, progress)
    console.print(f"downloaded: {len(downloads)} files, in {folder}")


def check(dataset: Dataset, arguments: argparse.Namespace, console: Console) -> bool:
    """Read everything and print the report; True when every sample can be used."""
    from mtlbench.data.folder_report import inspect_folder

    with _progress(arguments.name) as progress:
        report = inspect_folder(dataset, progress)
    total = sum(report.samples.values())
    console.print(f"\n{total - len(report.bad):,} of {total:,} samples can be used.")
    bad = [f"{sample.split} {sample.sample}: {sample.reason}" for sample in report.bad]
    _print_some(bad, arguments.all, console)
    for (first, second), scenes in report.shared_scenes.items():
        named = ", ".join(scenes[:3]) + (" …" if len(scenes) > 3 else "")
        console.print(f"{first} and {second} share {len(scenes):,} scenes ({named}): one says little about the other.")
    if report.unused:
        console.print(f"{len(report.unused):,} files in {report.folder} are not used:")
        _print_some([str(path.relative_to(report.folder or Path())) for path in report.unused], arguments.all, console)
    return not report.bad


def _print_some(lines: Sequence[str], every: bool, console: Console) -> None:
    """Lines, indented; only the first ones unless `every`."""
    shown = lines if every else lines[:_SHOWN]
    for line in shown:
        console.print(f"  {line}")
    if len(lines) > len(shown):
        console.print(f"  … and {len(lines) - len(shown):,} more (--all names them)")


def prepare_and_show(dataset: Dataset, arguments: argparse.Namespace, console: Console) -> None:
    """Prepare the arrays, say what is in them, and draw samples if it was asked for."""
    from mtlbench.data.label_statistics import label_statistics
    from mtlbench.data.store import prepare

    cache = arguments.cache.expanduser().resolve()
    with _progress(arguments.name) as progress:
        prepared = prepare(dataset, arguments.name, cache, skip_bad=arguments.skip_bad, progress=progress)
    size = sum(path.stat().st_size for path in prepared.folder.rglob("*") if path.is_file())
    console.print(f"\nprepared: {prepared.folder} ({size / 1e6:,.1f} MB, fingerprint {prepared.fingerprint[:12]})")
    console.print(f"samples: {', '.join(f'{name} {len(split):,}' for name, split in prepared.splits.items())}")
    for entry in prepared.meta["skipped"]:
        console.print(f"left out: {entry['split']} {entry['id']}: {entry['reason']}")
    console.print("labels of train")
    for task, line in label_statistics(prepared.splits["train"]).items():
        console.print(f"    {task}: {line}")
    if arguments.show is not None:
        from mtlbench.data.sample_sheet import draw_samples

        draw_samples(prepared, arguments.show, arguments.samples)
        console.print(f"written: {arguments.show}")


@contextmanager
def _progress(name: str) -> Iterator[Callable[[str, int, int], None]]:
    """One bar per stage in a terminal, one line per stage elsewhere."""
    console = Console(stderr=True)
    if not console.is_terminal:
        yield announce(name)
        return
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console) as bars:
        stages: dict[str, TaskID] = {}

        def show(stage: str, done: int, total: int) -> None:
            if stage not in stages:
                stages[stage] = bars.add_task(f"{name}: {stage}", total=total)
            bars.update(stages[stage], completed=done)

        yield show


def _paragraph(word: str, text: str) -> str:
    lead = f"{word}: " if word else ""
    return textwrap.fill(lead + text, 110, subsequent_indent="    ", break_long_words=False, break_on_hyphens=False)
