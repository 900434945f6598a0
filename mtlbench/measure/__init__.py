"""What is measured of a trained network: Δ against single-task, statistics, cost, robustness.

`corrupt` is usable on its own: ``from mtlbench.measure import corrupt``. It is loaded on first use, so that importing one
measure does not import the others.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mtlbench.measure.corruptions import corrupt

__all__ = ["corrupt"]


def __getattr__(name: str) -> Any:
    if name == "corrupt":
        from mtlbench.measure.corruptions import corrupt

        return corrupt
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
