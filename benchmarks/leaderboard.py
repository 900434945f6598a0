"""How long all leaderboards take: drawn from many records, drawn again, and after one record changed.

    python benchmarks/leaderboard.py [--records 10000] [--datasets 10] [--methods 40] [--images 100]

Records are made up (`tests/leaderboard/fabricate.py`) and drawn as a user does it, by `mtlbench leaderboard` in a process of
its own. Wall time and processor time of that process and its children; the bound on the first drawing is 20 s of wall time.
"""

from __future__ import annotations

import argparse
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from mtlbench.records import read, write  # noqa: E402
from tests.leaderboard import fabricate  # noqa: E402


def make(results: Path, arguments: argparse.Namespace) -> int:
    """Write the records; returns how many."""
    seeds = arguments.records // (arguments.datasets * arguments.methods)
    written = 0
    for number in range(arguments.datasets):
        for method in ["single_task", *(f"method{other:02}" for other in range(1, arguments.methods))]:
            for seed in range(seeds):
                quality = 0.001 * len(method)
                record = fabricate.record(method, f"data{number}", seed, quality=quality, images=arguments.images)
                write(results / record.dataset / f"{method}-seed{seed}-{record.id}.json", record)
                written += 1
    return written


def change_one(results: Path) -> None:
    """Give one record another training time."""
    path = min(results.rglob("*.json"))
    record = read(path)
    record.measured.training_seconds += 1
    write(path, record)


def draw(results: Path, out: Path) -> tuple[float, float]:
    """Wall and processor seconds of `mtlbench leaderboard`."""
    before, started = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    command = [sys.executable, "-m", "mtlbench", "leaderboard", "--results", str(results), "--out", str(out)]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, cwd=ROOT)
    wall, after = time.perf_counter() - started, resource.getrusage(resource.RUSAGE_CHILDREN)
    return wall, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--records", type=int, default=10_000)
    parser.add_argument("--datasets", type=int, default=10)
    parser.add_argument("--methods", type=int, default=40)
    parser.add_argument("--images", type=int, default=100, help="test images with statistics in every record")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        results, out = Path(folder) / "results", Path(folder) / "leaderboards"
        count = make(results, arguments)
        size = sum(path.stat().st_size for path in results.rglob("*.json"))
        print(f"{count} records of {size / count / 1024:.0f} KiB, {arguments.datasets} datasets")
        stamps: dict[Path, int] = {}
        for title in ("first", "again", "one record changed"):
            if title == "one record changed":
                change_one(results)
            wall, processor = draw(results, out)
            now = {path: path.stat().st_mtime_ns for path in out.rglob("*.*") if path.is_file()}
            written = sum(stamps.get(path) != stamp for path, stamp in now.items())
            stamps = now
            times = f"{wall:6.1f} s wall {processor:6.1f} s processor"
            print(f"{title:20} {times}, {written} of {len(now)} files written", flush=True)


if __name__ == "__main__":
    main()
