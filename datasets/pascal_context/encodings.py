"""How the PASCAL multi-task layout encodes human parts, normals and contexts."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from scipy.io import loadmat

from mtlbench.contract import BadSample, UserError

from .._shared.arrays import Array
from .._shared.normals import decode_normals, unit_vectors
from .._shared.reading import require_shape

IGNORE = 255
CLASSES = (
    *("background", "aeroplane", "bicycle", "bird", "boat", "bottle", "bus", "car", "cat", "chair", "cow", "dining table"),
    *("dog", "horse", "motorbike", "person", "potted plant", "sheep", "sofa", "train", "tv monitor"),
)
PARTS = ("background", "head", "torso", "upper arm", "lower arm", "upper leg", "lower leg")
PERSON = 15
"""Class of people in PASCAL-Part, and in `CLASSES`."""

NORMAL_LISTS = ("json/nyu_classes.json", "json/context_classes.json")
"""The names of NYUv2's and of PASCAL-Context's categories."""

_PART_OF = {
    **dict.fromkeys(("hair", "head", "lear", "lebrow", "leye", "mouth", "nose", "rear", "rebrow", "reye"), 1),
    **dict.fromkeys(("neck", "torso"), 2),
    **dict.fromkeys(("luarm", "ruarm"), 3),
    **dict.fromkeys(("lhand", "llarm", "rhand", "rlarm"), 4),
    **dict.fromkeys(("luleg", "ruleg"), 5),
    **dict.fromkeys(("lfoot", "llleg", "rfoot", "rlleg"), 6),
}
"""PASCAL-Part's names → number in `PARTS`."""


def read_mat(path: Path) -> dict[str, Any]:
    """A MATLAB file.

    Raises:
        BadSample: it is missing or cannot be read.
    """
    if not path.exists():
        raise BadSample(f"{path} is missing")
    try:
        content: dict[str, Any] = loadmat(path)
    except Exception as error:  # scipy raises many kinds for damaged files
        raise BadSample(f"{path} cannot be read as a MATLAB file: {error}") from None
    return content


def contexts(path: Path, size: tuple[int, int]) -> Array:
    """The map of PASCAL-Context's 459 categories, int [H, W]."""
    content = read_mat(path)
    if "LabelMap" not in content:
        raise BadSample(f"{path} holds no LabelMap")
    return require_shape(path, content["LabelMap"], size).astype(np.int64)


def human_parts(path: Path, size: tuple[int, int]) -> Array | None:
    """The parts of all people in an image, uint8 [H, W]; None where there are none.

    Raises:
        BadSample: the file is not as expected; names it.
    """
    target, people = np.zeros(size, np.uint8), False
    try:
        # anno(imname, objects(class, class_ind, mask, parts(part_name, mask)))
        for thing in read_mat(path)["anno"][0, 0][1].flat:
            if int(np.ravel(thing[1])[0]) != PERSON or not np.any(thing[2]):
                continue
            people = True
            for part in np.asarray(thing[3]).flat:
                name, mask = str(np.ravel(part[0])[0]), require_shape(path, np.asarray(part[1]), size)
                target[mask.astype(bool)] = _PART_OF[name]
    except KeyError as error:
        raise BadSample(f"{path} names {error}, which is no part of a person (or holds no anno)") from None
    except (IndexError, TypeError, ValueError) as error:
        raise BadSample(f"{path} is not laid out as PASCAL-Part's annotations: {error}") from None
    return target if people else None


def distilled_normals(code: Array, context: Array, valid: frozenset[int]) -> Array:
    """Normals float32 [3, H, W] of 8-bit codes [H, W, 3], 0 outside the categories that they are valid for."""
    return np.where(np.isin(context, list(valid)), unit_vectors(decode_normals(code)), np.float32(0))


def normal_categories(folder: Path) -> frozenset[int]:
    """The PASCAL-Context categories that NYUv2 has too: only there are the distilled normals meant.

    Raises:
        UserError: a list is missing or damaged.
    """
    lists = []
    for name in NORMAL_LISTS:
        path = folder / name
        try:
            lists.append(json.loads(path.read_text(encoding="utf-8")))
        except FileNotFoundError:
            raise UserError(
                f"pascal_context: {path} is missing: it says where normals are valid. It comes with the PASCAL-MT archive, "
                "and with the code of its users (data/db_info). Put it there, or leave the task normals out."
            ) from None
        except ValueError as error:
            raise UserError(f"pascal_context: {path} is no JSON ({error}). Get it again.") from None
    nyu, context = lists
    common = {int(context[name]) for name in nyu if name in context and name != "unknown"}
    return frozenset(common | ({int(context["tvmonitor"])} if "tvmonitor" in context else set()))


def edges(context: Array) -> Array:
    """Pixels that differ from their right or lower neighbour, uint8 [1, H, W]: edges one pixel wide."""
    edge = np.zeros(context.shape, np.uint8)
    edge[:, :-1] |= context[:, :-1] != context[:, 1:]
    edge[:-1] |= context[:-1] != context[1:]
    return edge[None]
