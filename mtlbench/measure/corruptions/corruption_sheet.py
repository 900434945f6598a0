"""One image under every corruption and severity, drawn on one sheet."""

from collections.abc import Sequence
from pathlib import Path

import torch.nn.functional as F
from torch import Tensor

from mtlbench.measure.corruptions.registry import COMMON, SEVERITIES, label
from mtlbench.measure.corruptions.suite import corrupt

_LARGEST_SIDE = 256
_MARGIN_LEFT, _MARGIN_TOP, _GAP = 150, 24, 2


def draw_corruptions(
    image: Tensor,
    path: str | Path,
    *,
    names: Sequence[str] = COMMON,
    seed: int = 0,
    textures: str | Path | None = None,
) -> None:
    """Write a PNG with one row per corruption and one column per severity (15 × 5 by default).

    Args:
        image: uint8 [C, H, W], C = 3 or 1. It is corrupted at its own size and shown at most 256 pixels long.
        path: where to write; folders are made as needed.
        names: which corruptions, from top to bottom.
        seed: another draw of everything random.
        textures: a folder with photographs of ice for `frost`.

    Raises:
        UserError: what `corrupt` refuses.
    """
    from PIL import Image, ImageDraw

    batch = image[None]
    cells = [[corrupt(batch, n, s, keys=[0], seed=seed, textures=textures) for s in SEVERITIES] for n in names]
    height, width = image.shape[-2:]
    shrink = min(1.0, _LARGEST_SIDE / max(height, width))
    height, width = round(height * shrink), round(width * shrink)
    sheet = Image.new(
        "RGB",
        (_MARGIN_LEFT + len(SEVERITIES) * (width + _GAP), _MARGIN_TOP + len(names) * (height + _GAP)),
        "white",
    )
    draw = ImageDraw.Draw(sheet)
    for column, severity in enumerate(SEVERITIES):
        draw.text((_MARGIN_LEFT + column * (width + _GAP) + width // 2, 6), str(severity), fill="black")
    for row, name in enumerate(names):
        top = _MARGIN_TOP + row * (height + _GAP)
        draw.text((8, top + height // 2 - 6), label(name, own_textures=textures is not None), fill="black")
        for column, cell in enumerate(cells[row]):
            shown = F.interpolate(cell.float(), size=(height, width), mode="area").round_().byte()
            pixels = shown[0].expand(3, -1, -1).permute(1, 2, 0).contiguous().cpu().numpy()
            sheet.paste(Image.fromarray(pixels), (_MARGIN_LEFT + column * (width + _GAP), top))
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    sheet.save(path)
