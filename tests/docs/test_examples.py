"""Every example in README and docs works: plugins pass their conformance properties, commands are parsed, planned or run."""

from __future__ import annotations

import runpy
from collections import Counter
from collections.abc import Collection
from pathlib import Path

import pytest
import yaml

from mtlbench.config.plugins import Registry
from mtlbench.conformance.methods import check_method
from mtlbench.planning.experiment import load_experiment
from tests.docs.commands import REPOSITORY, Refused, execute, trials
from tests.docs.markdown import Block, blocks

PAGES = [*sorted(REPOSITORY.glob("*.md")), *sorted((REPOSITORY / "docs").glob("*.md"))]
BLOCKS = {page: blocks(page) for page in PAGES}

EXECUTED = {"python", "bash", "yaml"}
NOT_CODE = {"text", "json"}
"""Languages of blocks that show what is printed or written."""


def working(page: Path) -> list[Block]:
    """The blocks of a page that are executed."""
    return [block for block in BLOCKS[page] if block.language in EXECUTED and not block.excluded]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_example_works(page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In the order of the page, in one folder: what a block writes is there for the blocks after it."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "experiments").symlink_to(REPOSITORY / "experiments")
    # What blocks write is found without --plugins, as it is in the checkout that they speak of.
    monkeypatch.setenv("MTLBENCH_PLUGINS", str(tmp_path))
    checked: list[str] = []
    for block in working(page):
        try:
            match block.language:
                case "python":
                    checked += run_python(block, tmp_path)
                case "bash":
                    run_bash(block, tmp_path, checked)
                case "yaml":
                    run_yaml(block, tmp_path)
        except Exception as error:
            raise AssertionError(f"{block.place}: {error}") from error


def run_python(block: Block, folder: Path, only: Collection[str] = ()) -> list[str]:
    """Write a plugin and check it, or run a script; returns the names of the plugins that were checked."""
    path = folder / (block.path or "script.py")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(block.text, encoding="utf-8")
    if not block.path:
        runpy.run_path(str(path))
        return []
    registry = Registry([folder])
    (plugin,) = [each for each in registry.plugins.values() if each.path == path.resolve()]
    assert not plugin.broken, plugin.broken
    if plugin.kind == "dataset":  # checked by a command of the page, once its files are there
        return []
    failed = {result.name: result.reason for result in check_method(plugin.name, registry, only) if result.ok is False}
    assert not failed, failed
    return [plugin.name]


def run_bash(block: Block, folder: Path, checked: Collection[str] = ()) -> None:
    """Try every command; those that check a plugin again are only parsed."""
    commands = block.commands()
    assert commands, "there is no command"
    for words in commands:
        execute(words, folder, checked)


def run_yaml(block: Block, folder: Path) -> None:
    """Load an experiment and plan it."""
    path = folder / "experiment.yaml"
    path.write_text(block.text, encoding="utf-8")
    assert trials(load_experiment(path), Registry([folder]))


def test_every_block_says_what_it_is() -> None:
    for page in PAGES:
        for block in BLOCKS[page]:
            assert block.language in EXECUTED | NOT_CODE, f"{block.place}: a block in {block.language or 'no language'}"


def test_excluded_blocks_are_few_and_say_why(capsys: pytest.CaptureFixture[str]) -> None:
    excluded = [block for page in PAGES for block in BLOCKS[page] if block.excluded]
    with capsys.disabled():
        print(f"\n{len(excluded)} examples in README and docs are not executed", end="")
        print("".join(f"\n  {block.place}: {block.excluded}" for block in excluded) or ".")
    executed = Counter(block.language for page in PAGES for block in working(page))
    assert executed["python"] >= 5 and executed["bash"] >= 8 and executed["yaml"] >= 1
    assert len(excluded) <= 0.2 * executed.total()


def test_experiment_files_are_planned() -> None:
    for path in sorted((REPOSITORY / "experiments").glob("*.yaml")):
        assert trials(load_experiment(path), Registry()), path.name


def page_of(folder: Path, text: str) -> list[Block]:
    path = folder / "page.md"
    path.write_text(text, encoding="utf-8")
    return blocks(path)


def test_blocks_are_found_with_their_markers(tmp_path: Path) -> None:
    text = "Text.\n\n```bash\nmake help  # list\n```\n<!-- not executed: needs a GPU -->\n```python\n# a/b.py\nx = 1\n```\n"
    first, second = page_of(tmp_path, text)
    assert (first.language, first.line, first.excluded, first.commands()) == ("bash", 4, "", [["make", "help"]])
    assert (second.path, second.text, second.excluded) == ("a/b.py", "# a/b.py\nx = 1\n", "needs a GPU")


def test_a_marker_holds_for_the_next_block_only_and_needs_a_reason(tmp_path: Path) -> None:
    text = "<!-- not executed: slow -->\n\nText.\n\n```bash\nmake\n```\n<!-- not executed:  -->\n```bash\nmake\n```\n"
    assert [block.excluded for block in page_of(tmp_path, text)] == ["", ""]


@pytest.mark.parametrize(
    "line",
    [
        "mtlbench bench -m hard_sharing",
        "mtlbench bench -m hard_shraing -d streets",
        "mtlbench bench -m hard_sharing -d streets --setting leraning_rate=1",
        "mtlbench bench -m cross_stitch -d streets --method-arg own_weigth=0.5",
        "mtlbench train -m pcgrad -d streets --speed 3",
        "mtlbench listt",
        "make bench METHOD=hard_shraing DATASET=streets",
        "make benhc",
        "rm -rf results",
    ],
)
def test_a_wrong_example_is_found(line: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (block,) = page_of(tmp_path, f"```bash\n{line}\n```\n")
    with pytest.raises(Refused):
        run_bash(block, tmp_path)


def test_a_faulty_plugin_and_a_wrong_experiment_are_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    code = (
        "# faulty.py\nfrom mtlbench.contract import Strategy\n\n\nclass Faulty(Strategy):\n    'Returns nothing.'\n\n"
        "    def step(self, batch):\n        self.descend(self.losses(batch))\n"
    )
    python, experiment = page_of(
        tmp_path, f"```python\n{code}```\n```yaml\nmethods: [equal]\ndatasets: [streets]\nseed: 3\n```\n"
    )
    with pytest.raises(AssertionError, match="returned_losses"):
        run_python(python, tmp_path, ["returned_losses", "plain_data"])
    with pytest.raises(Exception, match="there is no field 'seed'"):
        run_yaml(experiment, tmp_path)
    assert yaml.safe_load(experiment.text)
