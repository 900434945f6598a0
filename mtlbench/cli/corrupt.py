"""`mtlbench corrupt`: look at corruptions, and at what a trained network predicts under them."""

from __future__ import annotations

import argparse
from pathlib import Path

from rich.console import Console

from mtlbench.errors import UserError, did_you_mean


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.description = (
        "Draw an image under all corruptions: one row per corruption, one column per severity. With --network: what a "
        "trained network predicts on a test image, clean and under corruptions of one severity."
    )
    parser.add_argument("image", metavar="IMAGE", help="an image file; with --network, the number of a test image")
    parser.add_argument("out", metavar="OUT", type=Path, help="the picture to write, such as sheet.png")
    parser.add_argument("--corruption", action="append", default=[], metavar="NAME", help="only this one; may be repeated")
    parser.add_argument("--seed", type=int, default=0, help="another draw of everything random (default: 0; images only)")
    parser.add_argument("--frost", type=Path, metavar="DIR", help="photographs of ice for frost (default: generated ice)")
    parser.add_argument("--network", type=Path, metavar="RUN", help="the folder of a finished trial, runs/<id>")
    parser.add_argument("--trust", action="store_true", help="run plugin code that the folder of --network carries")
    parser.add_argument("--severity", type=int, default=3, help="1 to 5, with --network (default: 3)")


def run(arguments: argparse.Namespace) -> int:
    from PIL import Image

    from mtlbench.data.image_files import read_image
    from mtlbench.measure.corruptions import COMMON, CORRUPTIONS, QUICK, draw_corruptions

    out = arguments.out
    if out.suffix.lower() not in Image.registered_extensions():
        raise UserError(f"{out}: expected the name of a picture, such as sheet.png.")
    for name in arguments.corruption:
        if name not in CORRUPTIONS:
            raise UserError(f"Unknown corruption {name!r}.{did_you_mean(name, CORRUPTIONS)}")
    if arguments.network is None:
        names = arguments.corruption or COMMON
        image = read_image(Path(arguments.image))
        draw_corruptions(image, out, names=names, seed=arguments.seed, textures=arguments.frost)
    else:
        from mtlbench.measure.prediction_strip import prediction_strip
        from mtlbench.running.trained import load_selected

        if not arguments.image.isdecimal():
            raise UserError(f"IMAGE is {arguments.image!r}: with --network, expected the number of a test image.")
        selected, names = load_selected(arguments.network, arguments.trust), arguments.corruption or QUICK
        prediction_strip(selected, int(arguments.image), out, names, arguments.severity, arguments.frost)
    Console().print(f"written: {out}", highlight=False, soft_wrap=True)
    return 0
