"""`import mtlbench` is cheap: what needs torch is imported when it is asked for."""

from __future__ import annotations

import subprocess
import sys

import pytest

import mtlbench
from mtlbench import api

CODE = """
import sys
import mtlbench, mtlbench.cli.main
heavy = sorted({"torch", "pandas", "matplotlib", "ray", "rich", "numpy"} & set(sys.modules))
assert heavy == [], heavy
"""


def test_torch_is_not_imported_before_it_is_needed() -> None:
    subprocess.run([sys.executable, "-c", CODE], check=True)


def test_the_interface_can_be_taken_from_the_package() -> None:
    assert mtlbench.load_records is api.load_records
    assert mtlbench.Trained is api.Trained and mtlbench.bench is api.bench
    assert mtlbench.leaderboard.__name__ == "mtlbench.leaderboard", (
        "that name is a package's; the function is api.leaderboard"
    )


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        mtlbench.nothing  # noqa: B018
