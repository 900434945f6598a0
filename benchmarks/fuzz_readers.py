"""Feed changed records and experiment files to their readers, guided by what code each of them reaches.

    python benchmarks/fuzz_readers.py record --seconds 300
    python benchmarks/fuzz_readers.py experiment --seconds 300 [--corpus DIR] [--find DIR]

Needs atheris (`pip install atheris`: Linux, CPython 3.11 to 3.13; tried with 3.0), in the environment that mtlbench is
installed in, or one beside it (PYTHONPATH names the site-packages of the first). It starts from good files, those of
`experiments/` and a made-up record with all optional parts, and keeps every input that reaches new code in --corpus (a
temporary folder without it). Bytes are changed; where the input is JSON, values and keys as well, so that it stays JSON.

A reader may refuse anything by a `UserError` of one line. Whatever it accepts must come back the same when it is written and
read again, and go through what is done next: of an experiment, its seeds, references and settings; of a record, its
comparison with itself and unpacking its arrays. Any other exception ends the run, and the input that raised it is in
--find; give that file to `tests/fuzz/` as an example. Exit code 0: nothing was found.
"""

from __future__ import annotations

import argparse
import contextlib
import math
import random
import sys
import tempfile
import zlib
from collections.abc import Callable
from functools import reduce
from pathlib import Path

import atheris

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

with atheris.instrument_imports(include=["mtlbench", "yaml", "json"]):
    import json

    from mtlbench.errors import UserError
    from mtlbench.planning.experiment import load_experiment
    from mtlbench.records import as_text, canonical, read
    from mtlbench.records.reproduction import compare

from mtlbench.config.settings import make_settings  # noqa: E402
from mtlbench.planning.expansion import with_references  # noqa: E402
from tests.fuzz.inputs import places  # noqa: E402
from tests.records.test_records import rich_record  # noqa: E402

WORDS = {
    "record": ["null", "NaN", "Infinity", "-1", "1e999", "1.5", "\\ud800", "\\n", "[]", "{}", "true", '"id"', "9" * 30],
    "experiment": [
        "&a",
        "*a",
        "!!set",
        "!!binary",
        "2001-99-99",
        "0x",
        ".nan",
        "1e999",
        "? ",
        "- ",
        ": ",
        "\\0",
        "{}",
        "[]",
        "|",
    ],
}
"""What is put in besides single bytes."""


def record(path: Path) -> None:
    """Read a record, and use it."""
    accepted = read(path)
    text = as_text(accepted)
    path.write_text(text, encoding="utf-8")
    again = read(path)
    assert as_text(again) == text
    assert not compare(accepted, again).different
    for statistics in accepted.result.images.values():
        for packed in statistics.values():
            with contextlib.suppress(ValueError, TypeError, zlib.error):  # as its readers are told to expect
                packed.unpack()


def experiment(path: Path) -> None:
    """Read an experiment, and use it as far as no plugin and no data are needed."""
    accepted = load_experiment(path)
    canonical(accepted.model_dump())
    assert accepted.seed_list
    for entry in with_references(accepted.methods):
        make_settings("here", accepted.settings, entry.settings)


def changed(content: bytes, size: int, seed: int) -> bytes:
    """Another input: every other time, of JSON, with one value or key replaced, removed or repeated."""
    draw = random.Random(seed)
    try:
        value = json.loads(content)
    except (ValueError, RecursionError):
        value = None
    ways = places(value) if draw.random() < 0.5 else []
    if not ways:
        return bytes(atheris.Mutate(content, size))
    way = draw.choice(ways)
    parent, key = reduce(lambda inside, step: inside[step], way[:-1], value), way[-1]
    change = draw.choice(["word", "word", "other place", "remove", "key"])
    if change == "remove":
        del parent[key]
    elif change == "key" and isinstance(parent, dict):
        parent[draw.choice(["", "x", "\n", "id", "0"])] = parent.pop(key)
    elif change == "other place":
        parent[key] = reduce(lambda inside, step: inside[step], draw.choice(ways), value)
    else:
        parent[key] = draw.choice([None, True, 0, -1, 1.5, math.nan, 1e308, 2**64, "", "nan", "\ud800", [], {}, [[]]])
    try:
        return json.dumps(value).encode("utf-8", "surrogatepass")[:size]
    except (ValueError, RecursionError):  # a place within itself
        return content


READERS: dict[str, Callable[[Path], None]] = {"record": record, "experiment": experiment}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("reader", choices=sorted(READERS))
    parser.add_argument("--seconds", type=int, default=300)
    parser.add_argument("--corpus", type=Path, help="inputs that reach different code, to go on from")
    parser.add_argument("--find", type=Path, default=Path("."), help="where an input that breaks a reader is put")
    options = parser.parse_args()
    scratch = Path(tempfile.mkdtemp(prefix="fuzz-"))
    corpus = options.corpus or scratch / "corpus"
    corpus.mkdir(parents=True, exist_ok=True)
    options.find.mkdir(parents=True, exist_ok=True)
    if options.reader == "record":
        (corpus / "good.json").write_text(as_text(rich_record()), encoding="utf-8")
    else:
        for file in (ROOT / "experiments").glob("*.yaml"):
            (corpus / file.name).write_bytes(file.read_bytes())
    words = scratch / "words.txt"
    words.write_text("".join('"' + word.replace("\\", "\\\\").replace('"', '\\"') + '"\n' for word in WORDS[options.reader]))
    path, read_and_use = scratch / "input", READERS[options.reader]

    def one_input(content: bytes) -> None:
        path.write_bytes(content)
        try:
            read_and_use(path)
        except UserError as error:
            assert len(str(error).splitlines()) == 1, "a refusal is one line"
            str(error).encode("utf-8")

    found = f"-artifact_prefix={options.find.resolve()}/"
    bounds = [f"-max_total_time={options.seconds}", "-max_len=40000", "-rss_limit_mb=4096", "-timeout=20"]
    atheris.Setup([sys.argv[0], *bounds, found, f"-dict={words}", str(corpus)], one_input, custom_mutator=changed)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
