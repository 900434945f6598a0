"""Which corruptions there are, what is known about each, and the sets that evaluations use.

The operations and their constants are those of Hendrycks & Dietterich, "Benchmarking Neural Network Robustness to Common
Corruptions and Perturbations" (ICLR 2019), in the any-size form of the package `imagecorruptions` (bethgelab).
This module is plain data and imports nothing heavy.
"""

from dataclasses import dataclass
from typing import Literal

Group = Literal["noise", "blur", "weather", "digital"]

SUITE_VERSION = "1"
"""Changes whenever any corrupted pixel changes; part of the protocol. See `suite_version`."""

SEVERITIES = (1, 2, 3, 4, 5)

MINIMUM_SIDE = 32
"""Shorter images are refused: the widest kernels (41 pixels of motion, a disc of 21) would see nothing but the border."""


@dataclass(frozen=True)
class Corruption:
    """What is known about one corruption.

    Attributes:
        name: as in the literature.
        group: the family it is averaged in.
        common: one of the 15 that are reported; the others are for choosing on val and are never reported as test.
        keeps_geometry: whether a dense label still lies under the pixel it describes. Elastic moves pixels by up to 9 px,
            motion blur is one-sided (2-11 px), zoom blur displaces the border by 2.5-6.9 % of the width, glass blur
            scrambles locally.
        stochastic: whether it draws random numbers (and so depends on `keys` and `seed`).
        label: what a table's column says.
        minimum_side: the shortest image side it is defined for, in pixels.
    """

    name: str
    group: Group
    common: bool = True
    keeps_geometry: bool = True
    stochastic: bool = False
    label: str = ""
    minimum_side: int = MINIMUM_SIDE

    def __post_init__(self) -> None:
        if not self.label:
            object.__setattr__(self, "label", self.name)


_ALL = (
    Corruption("gaussian_noise", "noise", stochastic=True),
    Corruption("shot_noise", "noise", stochastic=True),
    Corruption("impulse_noise", "noise", stochastic=True),
    Corruption("defocus_blur", "blur"),
    Corruption("glass_blur", "blur", keeps_geometry=False, stochastic=True),
    Corruption("motion_blur", "blur", keeps_geometry=False, stochastic=True),
    Corruption("zoom_blur", "blur", keeps_geometry=False),
    Corruption("snow", "weather", stochastic=True),
    # The star: our ice is generated, the original's is photographed, so the column is not comparable with published ones.
    Corruption("frost", "weather", stochastic=True, label="frost*"),
    Corruption("fog", "weather", stochastic=True),
    Corruption("brightness", "weather"),
    Corruption("contrast", "digital"),
    Corruption("elastic_transform", "digital", keeps_geometry=False, stochastic=True),
    Corruption("pixelate", "digital"),
    Corruption("jpeg_compression", "digital"),
    Corruption("speckle_noise", "noise", common=False, stochastic=True),
    Corruption("gaussian_blur", "blur", common=False),
    Corruption("spatter", "weather", common=False, stochastic=True),
    Corruption("saturate", "digital", common=False),
)

CORRUPTIONS: dict[str, Corruption] = {corruption.name: corruption for corruption in _ALL}

COMMON = tuple(c.name for c in _ALL if c.common)
"""The 15 that are reported."""

EXTRA = tuple(c.name for c in _ALL if not c.common)
"""The four that are for choosing on val."""

GEOMETRY_PRESERVING = tuple(c.name for c in _ALL if c.common and c.keeps_geometry)
"""The 11 common ones under which dense labels stay where they are."""

QUICK = ("gaussian_noise", "defocus_blur", "motion_blur", "snow", "fog", "jpeg_compression")
"""Six that stand for the 15: every group, a blur that keeps the geometry and one that does not, two kinds of weather
(occlusion and loss of contrast), and none that depends on textures."""

QUICK_SEVERITIES = (1, 3, 5)


def label(name: str, *, own_textures: bool = False) -> str:
    """A table's column heading: `frost*` unless photographs of ice were given (`own_textures`)."""
    return name if own_textures else CORRUPTIONS[name].label
