"""mtlbench: compares multi-task learning methods for computer vision under one protocol."""

from importlib.util import find_spec
from pathlib import Path

__version__ = "0.1.0"

# `mtlbench.methods` and `mtlbench.datasets` are the top-level folders of the repository (setup.cfg maps them here). In a
# checkout that was never installed nothing maps them, so the repository's root joins the package's search path.
_root = Path(__file__).resolve().parent.parent
if find_spec(f"{__name__}.methods") is None and (_root / "methods" / "__init__.py").exists():
    __path__.append(str(_root))
