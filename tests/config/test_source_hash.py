"""A plugin's hash follows the meaning of its code and of the helpers that it imports, and nothing else."""

from __future__ import annotations

import shutil
import textwrap
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mtlbench.config import source_hash

FILES = {
    "datasets/__init__.py": "TITLE = 'datasets'\n",
    "datasets/plugin.py": """
        from ._shared import colours
        def load():
            from mtlbench.datasets import _beside
            return "_mentioned"
        if TYPE_CHECKING:
            from . import _typing_only
        """,
    "datasets/_beside.py": "import numpy as np\nfrom mtlbench.contract import Hyper\n",
    "datasets/_mentioned.py": "A = 1\n",
    "datasets/_typing_only.py": "A = 1\n",
    "datasets/other.py": "A = 1\n",
    "datasets/_shared/__init__.py": "A = 1\n",
    "datasets/_shared/colours.py": "from .numbers import ONE\n",
    "datasets/_shared/numbers.py": "from . import colours\nONE = 1\n",
    "datasets/_shared/unused.py": "A = 1\n",
    "datasets/package/__init__.py": "from .inner import Inner\n",
    "datasets/package/inner.py": "from .deep.below import below\nfrom .._shared.numbers import ONE\n",
    "datasets/package/deep/__init__.py": "A = 1\n",
    "datasets/package/deep/below.py": "import typing\nif typing.TYPE_CHECKING:\n    from .. import notes\n",
    "datasets/package/notes.py": "A = 1\n",
    "loose/mine.py": "import helper\nimport mtlbench.methods.hard_sharing as base\n",
    "loose/helper.py": "from further import further\n",
    "loose/further.py": "A = 1\n",
    "loose/other.py": "A = 1\n",
    "site-packages/mine.py": "import helper\n",
    "site-packages/helper.py": "A = 1\n",
    "site-packages/acme/__init__.py": "A = 1\n",
    "site-packages/acme/methods/__init__.py": "A = 1\n",
    "site-packages/acme/methods/mine.py": "import helper\nfrom acme.common import c\nfrom . import near\n",
    "site-packages/acme/methods/near.py": "from ..common import c\n",
    "site-packages/acme/common.py": "c = 1\n",
    "site-packages/acme/other.py": "A = 1\n",
}

FOLLOWED = {
    "datasets/plugin.py": ["plugin", "_beside", "_shared/__init__", "_shared/colours", "_shared/numbers"],
    "datasets/package/__init__.py": [
        "package/__init__", "package/inner", "package/deep/__init__", "package/deep/below", "_shared/__init__",
        "_shared/colours", "_shared/numbers",
    ],
    "loose/mine.py": ["mine", "helper", "further"],
    "site-packages/mine.py": ["mine"],
    "site-packages/acme/methods/mine.py": [
        "acme/__init__", "acme/methods/__init__", "acme/methods/mine", "acme/methods/near", "acme/common",
    ],
}  # fmt: skip


def write(folder: Path) -> Path:
    for name, text in FILES.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(textwrap.dedent(text))
    return folder


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write(tmp_path)


@pytest.mark.parametrize("edited", FILES)
@pytest.mark.parametrize("plugin", FOLLOWED)
def test_an_edit_changes_the_hash_of_whoever_imports_the_file(folder: Path, plugin: str, edited: str) -> None:
    before = source_hash.digest(folder / plugin)
    with (folder / edited).open("a") as file:
        file.write("edited = True\n")
    home = "/".join(plugin.split("/")[:1])
    is_followed = edited in [f"{home}/{name}.py" for name in FOLLOWED[plugin]]
    assert (source_hash.digest(folder / plugin) != before) == is_followed


@given(
    files=st.lists(st.sampled_from(sorted(FILES)), max_size=5),
    addition=st.sampled_from(["# a comment\n", "\n\n", '"""Said again."""\n', "pass  # nothing\n", "...\n"]),
)
@settings(max_examples=40, deadline=None)
def test_comments_and_docstrings_change_no_hash(
    tmp_path_factory: pytest.TempPathFactory, files: list[str], addition: str
) -> None:
    folder = write(tmp_path_factory.mktemp("plugins"))
    before = {plugin: source_hash.digest(folder / plugin) for plugin in FOLLOWED}
    for name in files:
        path = folder / name
        path.write_text(path.read_text() + addition)
    assert {plugin: source_hash.digest(folder / plugin) for plugin in FOLLOWED} == before


def test_any_file_of_a_package_names_the_package(folder: Path) -> None:
    """The class may be defined in any of them, and prepared data are found by the class."""
    digests = {source_hash.digest(folder / "datasets/package" / name) for name in ("__init__.py", "inner.py")}
    assert len(digests) == 1


def test_the_hash_does_not_depend_on_the_place(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    elsewhere = tmp_path_factory.mktemp("elsewhere") / "mtlbench"
    shutil.copytree(folder, elsewhere)
    (elsewhere / "__init__.py").touch()  # as in an installed mtlbench
    for plugin in FOLLOWED:
        assert source_hash.digest(folder / plugin) == source_hash.digest(elsewhere / plugin), plugin


def test_a_file_and_a_package_of_the_same_code_are_the_same(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a/mine.py").write_text("A = 1\n")
    (tmp_path / "b/mine").mkdir(parents=True)
    (tmp_path / "b/mine/__init__.py").write_text("A = 1  # one\n")
    assert source_hash.digest(tmp_path / "a/mine.py") == source_hash.digest(tmp_path / "b/mine/__init__.py")


def test_a_plugin_from_outside_follows_the_method_that_it_is_built_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = Path(__file__).parents[2] / "methods"
    (tmp_path / "mine.py").write_text("from mtlbench.methods.hard_sharing import HardSharing\n")
    before = source_hash.digest(tmp_path / "mine.py")
    shutil.copytree(own, tmp_path / "copy")
    with (tmp_path / "copy/hard_sharing.py").open("a") as file:
        file.write("edited = True\n")
    import mtlbench.methods

    monkeypatch.setattr(mtlbench.methods, "__path__", [str(tmp_path / "copy")])
    assert source_hash.digest(tmp_path / "mine.py") != before


def test_a_file_that_cannot_be_parsed_has_a_hash(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text("def f(:\n")
    first = source_hash.digest(tmp_path / "mine.py")
    (tmp_path / "mine.py").write_text("def g(:\n")
    assert source_hash.digest(tmp_path / "mine.py") != first


@pytest.mark.parametrize(
    ("source", "is_package", "expected"),
    [
        ("import a, b.c as d", False, ["a", "b.c"]),
        ("from a.b import c as d, e", False, ["a.b", "a.b.c", "a.b.e"]),
        ("from . import c", False, ["p", "p.c"]),
        ("from .q import c", False, ["p.q", "p.q.c"]),
        ("from .q import c", True, ["p.m.q", "p.m.q.c"]),
        ("from .. import c", True, ["p", "p.c"]),
        ("from .. import c", False, []),
        ("if TYPE_CHECKING:\n    import a\nelse:\n    import b", False, ["b"]),
        ("import t\nif t.TYPE_CHECKING:\n    import a", False, ["t"]),
        ("def f():\n    try:\n        import a\n    except ImportError: pass", False, ["a"]),
        ("x = 'import a'", False, []),
    ],
)
def test_imports_are_read_as_python_reads_them(source: str, is_package: bool, expected: list[str]) -> None:
    assert source_hash.imports(source.encode(), "p.m", is_package) == expected
