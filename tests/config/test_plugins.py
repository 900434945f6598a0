"""Plugins are found where they are, and a broken one breaks nothing else."""

from __future__ import annotations

from pathlib import Path

import pytest

from mtlbench.config.method import reference_method, resolve
from mtlbench.config.plugins import Registry
from mtlbench.contract import UserError

STRATEGY = '''
"""A strategy."""
from mtlbench.contract import Hyper, Strategy, Uniform, total


class Mine(Strategy):
    """Descend the sum, scaled."""

    scale: float = Hyper(1.0, search=Uniform(0.1, 2.0), gt=0, help="factor on the loss")

    def step(self, batch):
        losses = self.losses(batch)
        self.descend(self.scale * total(losses))
        return losses
'''


@pytest.fixture
def extra(tmp_path: Path) -> Path:
    (tmp_path / "mine.py").write_text(STRATEGY)
    (tmp_path / "broken_import.py").write_text("import no_such_package\n")
    (tmp_path / "empty.py").write_text("x = 1\n")
    (tmp_path / "two.py").write_text(
        "from mtlbench.contract import Strategy\nclass A(Strategy): ...\nclass B(Strategy): ...\n"
    )
    (tmp_path / "hard_sharing.py").write_text(STRATEGY)
    (tmp_path / "_helper.py").write_text("raise RuntimeError\n")
    return tmp_path


def test_own_plugins_work() -> None:
    registry = Registry()
    for group in ("methods", "datasets"):
        for name, plugin in registry.group(group).items():
            assert not plugin.broken or "needs the package" in plugin.broken, f"{name}: {plugin.broken}"
            assert plugin.summary, f"{name} has no description"
    assert registry.method(reference_method()).kind == "architecture"


def test_a_file_in_an_extra_folder_is_a_plugin(extra: Path) -> None:
    registry = Registry([extra])
    assert registry.method("mine").kind == "strategy"
    method = resolve("cross_stitch+mine", {"scale": 0.5, "own_weight": 0.8}, registry)
    assert method.changed == {"own_weight": 0.8, "scale": 0.5}


def test_the_environment_names_folders_too(extra: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MTLBENCH_PLUGINS", str(extra))
    assert Registry().method("mine")


def test_broken_plugins_are_listed_with_their_reason(extra: Path) -> None:
    methods = Registry([extra]).group("methods")
    assert "no_such_package" in methods["broken_import"].broken
    assert "found none" in methods["empty"].broken
    assert "found A, B" in methods["two"].broken
    assert not methods["hard_sharing"].broken, "the folder's file must not take the place of the other"
    (taken,) = [plugin for name, plugin in methods.items() if name.startswith("hard_sharing (")]
    assert "is taken by" in taken.broken
    assert "_helper" not in methods


def test_a_broken_plugin_cannot_be_used(extra: Path) -> None:
    with pytest.raises(UserError, match=r"cannot be used: .*no_such_package"):
        Registry([extra]).method("broken_import")


def test_a_missing_requirement_makes_a_plugin_unavailable(tmp_path: Path) -> None:
    text = STRATEGY.replace("    scale", "    requires = {'no_such_package': 'pip install it'}\n    scale", 1)
    (tmp_path / "picky.py").write_text(text)
    plugin = Registry([tmp_path]).group("methods")["picky"]
    assert plugin.broken == "needs the package 'no_such_package': pip install it"
    assert plugin.lacks_package


def test_a_plugin_of_another_group_is_told_to_move(tmp_path: Path) -> None:
    (tmp_path / "datasets").mkdir()
    (tmp_path / "datasets" / "mine.py").write_text(STRATEGY)
    plugin = Registry([tmp_path]).group("datasets")["mine"]
    assert "Mine is a(n) strategy, and stands among the datasets" in plugin.broken
    assert not plugin.lacks_package


def test_a_part_of_another_kind_is_refused() -> None:
    registry = Registry()
    with pytest.raises(UserError, match="pcgrad is a strategy, and an architecture is expected"):
        registry.architecture("pcgrad")
    with pytest.raises(UserError, match="hard_sharing is an architecture, and a strategy is expected"):
        registry.strategy("hard_sharing")
    assert set(registry.architectures()).isdisjoint(registry.strategies())
    assert "streets" in registry.datasets()


@pytest.mark.parametrize(
    ("name", "hypers", "message"),
    [
        ("crossstitch", {}, "Did you mean 'cross_stitch'"),
        ("hard_sharing+cross_stitch", {}, "must be architecture[+]strategy"),
        ("a+b+c", {}, "expected one name, or architecture[+]strategy"),
        ("cross_stitch", {"own_wieght": 1}, "Did you mean 'own_weight'"),
        ("cross_stitch", {"own_weight": "much"}, "expected float"),
        ("cross_stitch", {"own_weight": 1.5}, "expected 0 <= own_weight <= 1"),
        ("cross_stitch", {"own_weight": float("nan")}, "refused"),
        ("hard_sharing", {"depth": 3}, "has no hyper-parameter 'depth'"),
    ],
)
def test_mistakes_get_one_clear_line(name: str, hypers: dict[str, object], message: str) -> None:
    with pytest.raises(UserError, match=message) as caught:
        resolve(name, hypers, Registry())
    assert "\n" not in str(caught.value)


def test_one_trial_has_one_name() -> None:
    registry = Registry()
    names = {resolve(name, {}, registry).name for name in ("equal", "hard_sharing", "hard_sharing+equal")}
    assert names == {"hard_sharing"}
    assert resolve("hard_sharing+uncertainty", {}, registry).name == "uncertainty"
    assert resolve("cross_stitch+equal", {}, registry).name == "cross_stitch"


def test_a_pair_that_means_nothing_is_refused() -> None:
    registry = Registry()
    surgery = next(name for name, strategy in registry.strategies().items() if strategy.needs_sharing)
    with pytest.raises(UserError, match="means nothing"):
        resolve(f"single_task+{surgery}", {}, registry)


def test_the_readme_names_all_that_there_is() -> None:
    text = (Path(__file__).parents[2] / "README.md").read_text(encoding="utf-8")
    for group in ("methods", "datasets"):
        assert [name for name in Registry().group(group) if f"`{name}`" not in text] == []
