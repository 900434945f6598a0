"""mtlbench: compares multi-task learning methods for computer vision under one protocol.

For notebooks, `bench`, `load_records` and `Trained` of `mtlbench.api` can be taken from here; torch is imported when one is.
"""

import importlib
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mtlbench.api import Trained, bench, load_records

__all__ = ["Trained", "__version__", "bench", "load_records"]

__version__ = "0.1.0"

# `mtlbench.methods` and `mtlbench.datasets` are the top-level folders of the repository (setup.cfg maps them here). In a
# checkout that was never installed nothing maps them, so the repository's root joins the package's search path.
_root = Path(__file__).resolve().parent.parent
if find_spec(f"{__name__}.methods") is None and (_root / "methods" / "__init__.py").exists():
    __path__.append(str(_root))


def __getattr__(name: str) -> Any:
    """What the Python interface offers, imported when it is first asked for."""
    if name in __all__:
        return getattr(importlib.import_module(f"{__name__}.api"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
