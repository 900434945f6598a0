"""The type of arrays whose element type a function does not fix."""

from __future__ import annotations

from typing import Any

from numpy.typing import NDArray

Array = NDArray[Any]
"""An array of any element type; docstrings and comments give shape and element type where they matter."""
