"""The common image corruptions, batched, on any device, reproducible per image.

```python
from mtlbench.measure import corrupt

dark_and_cold = corrupt(images, "frost", 3, keys=["frame_0001", "frame_0002"], dataset="streets")
```
"""

from mtlbench.measure.corruptions.corruption_sheet import draw_corruptions
from mtlbench.measure.corruptions.registry import (
    COMMON,
    CORRUPTIONS,
    EXTRA,
    GEOMETRY_PRESERVING,
    MINIMUM_SIDE,
    QUICK,
    QUICK_SEVERITIES,
    SEVERITIES,
    SUITE_VERSION,
    Corruption,
    label,
)
from mtlbench.measure.corruptions.suite import corrupt, suite_version

__all__ = [
    "COMMON",
    "CORRUPTIONS",
    "EXTRA",
    "GEOMETRY_PRESERVING",
    "MINIMUM_SIDE",
    "QUICK",
    "QUICK_SEVERITIES",
    "SEVERITIES",
    "SUITE_VERSION",
    "Corruption",
    "corrupt",
    "draw_corruptions",
    "label",
    "suite_version",
]
