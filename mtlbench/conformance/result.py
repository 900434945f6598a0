"""What is said of one property of one plugin."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class PropertyResult:
    """Whether a plugin has a property.

    Attributes:
        name: the property's, in snake_case.
        description: the property in one sentence.
        ok: True: it holds; False: it does not; None: it does not apply to this plugin.
        reason: how it shows that the property does not hold, or why it does not apply; empty where there is nothing to say.
    """

    name: str
    description: str
    ok: bool | None
    reason: str = ""
