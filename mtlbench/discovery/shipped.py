"""Experiment files that come with mtlbench: in the repository's folder, and within an installed package."""

from __future__ import annotations

from pathlib import Path

import mtlbench


def shipped_experiments() -> Path | None:
    """The folder of experiment files, None where it is missing."""
    package = Path(mtlbench.__file__).resolve().parent
    folders = (package / "experiments", package.parent / "experiments")
    return next((folder for folder in folders if (folder / "quickstart.yaml").is_file()), None)


def experiment_file(path: Path) -> Path:
    """The file that a path means: itself, or the one of that name that comes with mtlbench where there is no such file.

    `quickstart`, `quickstart.yaml` and `experiments/quickstart.yaml` all name it. Another path is returned as it is.
    """
    folder = shipped_experiments()
    if path.is_file() or folder is None or path.parent not in (Path(), Path("experiments")):
        return path
    ours = folder / path.with_suffix(".yaml").name
    return ours if ours.is_file() else path
