"""A folder of somebody else's trial does not run code unasked."""

from __future__ import annotations

from pathlib import Path

import pytest

from mtlbench.config.plugins import Registry
from mtlbench.errors import UserError
from mtlbench.running.run_trial import run_trial
from mtlbench.running.trained import load_selected, read_spec
from tests.tiny import trials

METHOD = '''"""Plain training."""

from mtlbench.contract import Strategy


class Mine(Strategy):
    """Plain training."""
'''


def test_code_that_is_not_on_this_machine_is_run_only_when_it_is_trusted(tmp_path: Path) -> None:
    plugin = tmp_path / "plugins" / "mine.py"
    plugin.parent.mkdir()
    plugin.write_text(METHOD)
    (spec,) = trials(tmp_path, ["mine"], registry=Registry([plugin.parent]))
    assert spec.files
    run_trial(spec, tmp_path / "runs", tmp_path / "results")
    folder = tmp_path / "runs" / spec.id
    assert load_selected(folder).title == spec.title
    plugin.unlink()
    with pytest.raises(UserError, match=r"carries code that is not on this machine \(mine.py\).* give --trust"):
        load_selected(folder)
    assert load_selected(folder, trust=True).title == spec.title


@pytest.mark.parametrize(("text", "message"), [(None, "there is no spec.json"), ('{"method": 3}', "is damaged")])
def test_a_folder_without_a_whole_specification_is_one_line(text: str | None, message: str, tmp_path: Path) -> None:
    if text is not None:
        (tmp_path / "spec.json").write_text(text)
    with pytest.raises(UserError, match=message) as caught:
        read_spec(tmp_path)
    assert "\n" not in str(caught.value)


def test_no_checkpoint_is_loaded_with_code() -> None:
    root = Path(__file__).parents[2]
    for folder in ("mtlbench", "methods", "datasets"):
        for path in (root / folder).rglob("*.py"):
            assert "weights_only=False" not in path.read_text(encoding="utf-8"), path
