"""The Python interface, for notebooks and scripts: run trials, read records, draw leaderboards, use trained networks.

from mtlbench.api import Trained, bench, leaderboard, load_records

frame = bench("hard_sharing,pcgrad", "streets", seeds=3, settings={"epochs": 10})
print(leaderboard(frame)[["row", "delta/task", "delta/task/ci95"]])
depth = Trained.from_record(frame["record"][0]).predict("photograph.jpg")["depth"]
"""

from mtlbench.api.board import leaderboard
from mtlbench.api.outputs import decode
from mtlbench.api.record_frame import load_records
from mtlbench.api.sweep import bench
from mtlbench.api.trained import Trained

__all__ = ["Trained", "bench", "decode", "leaderboard", "load_records"]
