"""What a plugin's code is, as one hash: an edited plugin gives other trials and other prepared data."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path


def digest(path: Path) -> str:
    """Hash of a plugin's file and of the helper modules (`_name.py` beside it) that it mentions, one after another.

    Returns:
        16 hexadecimal digits.

    Raises:
        OSError: a file cannot be read.
    """
    seen: dict[str, bytes] = {}
    waiting = [path]
    while waiting:
        file = waiting.pop()
        seen[file.name] = text = file.read_bytes()
        for name in re.findall(rb"\b_[a-z]\w*", text):
            helper = path.parent / f"{name.decode()}.py"
            if helper.name not in seen and helper.is_file():
                waiting.append(helper)
    hashed = hashlib.sha256()
    for name in sorted(seen):
        hashed.update(name.encode() + b"\0" + seen[name] + b"\0")
    return hashed.hexdigest()[:16]
