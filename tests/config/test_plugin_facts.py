"""What is read from a plugin's source is what importing it shows."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from mtlbench.cli.methods_page import methods_markdown
from mtlbench.config.plugin import AnyPlugin
from mtlbench.config.plugins import Registry
from mtlbench.contract import Strategy
from mtlbench.discovery.facts import Facts, read_facts
from mtlbench.discovery.places import plugin_places

ROOT = Path(__file__).parents[2]
FACTS = {(facts.group, facts.name): facts for facts in map(read_facts, plugin_places([]))}
PLUGINS = Registry().plugins


@pytest.mark.parametrize("key", sorted(PLUGINS), ids=lambda key: key[1])
def test_the_source_says_what_the_class_is(key: tuple[str, str]) -> None:
    facts, plugin = FACTS[key], PLUGINS[key]
    if plugin.broken:
        assert not facts.usable and facts.summary == plugin.broken
        return
    assert (facts.kind, facts.summary) == (plugin.kind, plugin.summary)
    assert (facts.family, facts.publication, facts.compared_with) == (
        plugin.cls.family,
        plugin.cls.publication,
        plugin.cls.compared_with,
    )
    if issubclass(plugin.cls, Strategy):
        assert facts.passes == plugin.cls.passes
        assert (facts.needs_sharing, facts.invariances) == (plugin.cls.needs_sharing, plugin.cls.invariances)


@pytest.mark.parametrize("key", sorted(key for key in PLUGINS if key[0] == "methods"), ids=lambda key: key[1])
def test_every_method_names_its_family_and_its_paper(key: tuple[str, str]) -> None:
    facts = FACTS[key]
    assert facts.family or not facts.usable
    assert facts.publication or facts.family in ("baseline", "control") or not facts.usable


WRONG = {
    "syntax": ("def f(:\n", "SyntaxError"),
    "missing": (
        "import no_such_package\nfrom mtlbench.contract import Strategy\nclass A(Strategy):\n    pass\n",
        "no_such_package",
    ),
    "none": ("x = 1\n", "found none"),
    "two": ("from mtlbench.contract import Strategy\nclass A(Strategy): ...\nclass B(Strategy): ...\n", "found A, B"),
    "needs": (
        'from mtlbench.contract import Strategy\nclass A(Strategy):\n    requires = {"no_such": "install it"}',
        "needs the package 'no_such': install it",
    ),
}


@pytest.mark.parametrize("name", WRONG)
def test_a_plugin_that_cannot_be_used_keeps_the_reason(name: str, tmp_path: Path) -> None:
    source, reason = WRONG[name]
    (tmp_path / f"{name}_plugin.py").write_text(source)
    facts = _facts_of(tmp_path)
    plugin: AnyPlugin = Registry([tmp_path]).plugins["methods", f"{name}_plugin"]
    assert not facts.usable and reason in facts.summary
    assert reason in plugin.broken


def test_bases_are_followed_through_helpers_and_packages(tmp_path: Path) -> None:
    package = tmp_path / "methods" / "mine"
    package.mkdir(parents=True)
    (tmp_path / "methods" / "_shared.py").write_text(
        'from mtlbench.contract import JacobianStrategy as J\nclass Base(J):\n    """Base."""\n    family = "mine"\n'
    )
    (package / "__init__.py").write_text("from .inner import Mine\n")
    (package / "inner.py").write_text('from .._shared import Base\nclass Mine(Base):\n    """What it is.\n\n    More."""\n')
    facts = _facts_of(tmp_path)
    assert (facts.kind, facts.summary, facts.family) == ("strategy", "What it is.", "mine")
    assert "trunk" in facts.passes and facts.needs_sharing


def test_the_page_of_methods_is_current() -> None:
    page = (ROOT / "docs" / "methods.md").read_text(encoding="utf-8")
    methods = [facts for (group, _), facts in sorted(FACTS.items()) if group == "methods"]
    assert page.strip() == methods_markdown(methods), "run `mtlbench list methods --markdown > docs/methods.md`"


def test_listing_does_not_import_torch() -> None:
    code = "import sys; from mtlbench.cli.main import main; main(['list']); sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True).returncode == 0


def _facts_of(folder: Path) -> Facts:
    """The facts of the one plugin in a folder."""
    (place,) = [place for place in plugin_places([folder]) if place.path.is_relative_to(folder)]
    return read_facts(place)
