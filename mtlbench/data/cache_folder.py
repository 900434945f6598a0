"""Where prepared data lie unless somebody says otherwise."""

from __future__ import annotations

import os
from pathlib import Path


def default_cache() -> Path:
    """MTLBENCH_CACHE, or `mtlbench` in the user's cache folder."""
    from_environment = os.environ.get("MTLBENCH_CACHE")
    if from_environment:
        return Path(from_environment)
    return Path(os.environ.get("XDG_CACHE_HOME", "~/.cache")).expanduser() / "mtlbench"
