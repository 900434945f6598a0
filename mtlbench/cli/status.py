"""`mtlbench status`: how far the trials of a folder of runs are, seen from another terminal."""

from __future__ import annotations

import argparse
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console, Group, RenderableType
from rich.text import Text

from mtlbench.errors import UserError

if TYPE_CHECKING:
    from mtlbench.running.progress import TrialStatus

STYLES = {"training": "", "evaluating": "", "finished": "dim", "failed": "red", "stopped": "yellow"}

HEADINGS = ("trial", "id", "state", "epoch", "val skill", "left", "memory", "updated")
NUMBERS = ("epoch", "val skill", "left", "memory")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.description = (
        "Say how far the trials in a folder of runs are: state, epoch, losses, val skill, time left, peak memory, and when "
        "each was last heard of. Nothing is started or changed. Trials that wait for their turn are not in the folder yet."
    )
    parser.add_argument("runs", nargs="?", type=Path, default=Path("runs"), help="checkpoints of trials (default: runs)")
    parser.add_argument("--all", action="store_true", help="finished trials, too, one line each")
    parser.add_argument("--watch", type=float, metavar="SECONDS", help="look again every so often, until Ctrl-C")


def run(arguments: argparse.Namespace) -> int:
    from mtlbench.running.progress import statuses

    console = Console()
    if arguments.watch is None:
        console.print(status_table(statuses(arguments.runs), arguments.all, time.time()), soft_wrap=True)
        return 0
    if not arguments.watch > 0:
        raise UserError(f"--watch {arguments.watch:g} is refused: expected seconds above 0.")
    from rich.live import Live

    with Live(console=console, auto_refresh=False) as live:
        try:
            while True:
                live.update(status_table(statuses(arguments.runs), arguments.all, time.time()), refresh=True)
                time.sleep(arguments.watch)
        except KeyboardInterrupt:
            return 0


def status_table(statuses: Sequence[TrialStatus], with_finished: bool, now: float) -> RenderableType:
    """One line per trial, and how many there are of each state.

    Args:
        now: in seconds since 1970.
    """
    if not statuses:
        return Text("No trial has begun here.")
    counts: Counter[str] = Counter(status.state for status in statuses)
    line = Text(", ".join(f"{counts[state]} {state}" for state in STYLES if counts[state]))
    shown = [status for status in statuses if with_finished or status.state != "finished"]
    if not shown:
        return Group(line, Text("`mtlbench status --all` lists finished trials, too.", style="dim"))
    rows = [_cells(status, now) for status in shown]
    widths = [max(map(len, column)) for column in zip(HEADINGS, *rows, strict=True)]
    lines = [Text(_aligned(HEADINGS, widths), "dim")]
    for status, row in zip(shown, rows, strict=True):
        lines.append(Text(_aligned(row, widths), STYLES[status.state]))
        losses = ", ".join(f"{task} {loss:.3g}" for task, loss in status.progress.train_loss.items())
        if losses and status.state != "finished":
            lines.append(Text(f"  train loss: {losses}", "dim"))
    reasons = [
        Text(f"{status.progress.id}: {status.reason}", style="red")
        for status in shown
        if status.state == "failed" and status.reason
    ]
    if counts["stopped"]:
        reasons.append(
            Text("Stopped trials go on where they were when the command that began them is run again.", style="dim")
        )
    return Group(*lines, *reasons, line)


def _cells(status: TrialStatus, now: float) -> list[str]:
    from mtlbench.running.remaining import time_span

    progress = status.progress
    left = progress.seconds_left if status.state == "training" else None
    return [
        f"{progress.dataset} · {progress.row} · seed {progress.seed}",
        progress.id,
        status.state,
        f"{progress.epoch}/{progress.epochs}",
        "–" if progress.val_skill is None else f"{progress.val_skill:.3f}",
        "–" if left is None else time_span(left),
        f"{progress.memory_bytes / 1e9:.2f} GB" if progress.memory_bytes else "–",
        f"{time_span(max(now - progress.updated, 0))} ago",
    ]


def _aligned(cells: Sequence[str], widths: Sequence[int]) -> str:
    """Words to the left, numbers to the right."""
    pairs = zip(HEADINGS, cells, widths, strict=True)
    return "  ".join(text.rjust(width) if name in NUMBERS else text.ljust(width) for name, text, width in pairs).rstrip()
