"""Time the corruption suite: ms per image of every common corruption, one thread, mean over the five severities.

    python benchmarks/corruptions.py [--sizes 128x256 256x512] [--batch 8] [--repeat 3] [--device cpu]

Where the package `imagecorruptions` can be imported, its times stand beside ours (it takes seconds for glass_blur).
"""

import argparse
import time
import warnings
from collections.abc import Callable
from functools import partial

import torch

from mtlbench.measure.corruptions import COMMON, SEVERITIES, corrupt


def _milliseconds(run: Callable[[], object], device: str, repeat: int) -> float:
    """The fastest of `repeat` runs: what else the machine does can only add to it.

    On a CPU it is the thread's own time, which equals the clock's on a machine that does nothing else.
    """
    clock = time.thread_time if device == "cpu" else time.perf_counter
    times = []
    for _ in range(repeat):
        start = clock()
        run()
        if device != "cpu":
            torch.cuda.synchronize()
        times.append(clock() - start)
    return 1e3 * min(times)


def ours(images: torch.Tensor, name: str, repeat: int) -> float:
    """Mean ms per image over the severities."""
    keys = range(len(images))
    total = 0.0
    for severity in SEVERITIES:
        corrupt(images, name, severity, keys=keys)  # tables and textures are made once
        total += _milliseconds(partial(corrupt, images, name, severity, keys=keys), images.device.type, repeat)
    return total / len(SEVERITIES) / len(images)


def reference(image: torch.Tensor, name: str) -> float | None:
    """Mean ms of the package `imagecorruptions` over the severities; None where it is missing or fails."""
    try:
        import imagecorruptions
    except Exception:  # it needs modules that newer setuptools and SciPy no longer have
        return None
    array = image.permute(1, 2, 0).numpy()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            times = [
                _milliseconds(partial(imagecorruptions.corrupt, array, severity=s, corruption_name=name), "cpu", 1)
                for s in SEVERITIES
            ]
    except Exception:
        return None
    return sum(times) / len(times)


def smooth_image(height: int, width: int) -> torch.Tensor:
    """An image with some structure, uint8 [3, H, W]: JPEG is slower on noise than on photographs."""
    generator = torch.Generator().manual_seed(0)
    coarse = torch.rand(1, 3, height // 8, width // 8, generator=generator)
    return torch.nn.functional.interpolate(coarse, size=(height, width), mode="bicubic").clamp(0, 1)[0].mul(255).byte()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", nargs="+", default=["128x256", "256x512"], help="height x width")
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--repeat", type=int, default=5)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--no-reference", action="store_true", help="do not time imagecorruptions")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    sizes = [tuple(int(side) for side in size.split("x")) for size in arguments.sizes]
    print(f"ms per image, batch {arguments.batch}, {arguments.device}, one thread, mean over severities 1-5")
    print(f"{'':20}" + "".join(f"{h}x{w}".rjust(12) + "reference".rjust(12) for h, w in sizes))
    sums = [[0.0, 0.0] for _ in sizes]
    for name in COMMON:
        row = f"{name:20}"
        for column, (height, width) in enumerate(sizes):
            image = smooth_image(height, width)
            mine = ours(image.expand(arguments.batch, -1, -1, -1).to(arguments.device), name, arguments.repeat)
            theirs = None if arguments.no_reference else reference(image, name)
            sums[column][0] += mine
            sums[column][1] += float("nan") if theirs is None else theirs
            row += f"{mine:12.2f}" + ("-" if theirs is None else f"{theirs:.2f}").rjust(12)
        print(row, flush=True)
    print(f"{'sum':20}" + "".join(f"{a:12.2f}{b:12.2f}" for a, b in sums))


if __name__ == "__main__":
    main()
