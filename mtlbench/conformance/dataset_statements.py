"""Properties of datasets: what a plugin says about itself and which samples there are."""

from __future__ import annotations

import tempfile
from collections import Counter
from itertools import combinations
from pathlib import Path

from mtlbench.config.settings import make_settings
from mtlbench.conformance.dataset_subject import DatasetSubject
from mtlbench.conformance.json_values import require_json
from mtlbench.conformance.option_values import other_values
from mtlbench.conformance.suite import Failed, NotApplicable
from mtlbench.contract import Dataset, UserError
from mtlbench.data.writing import REQUIRED_SPLITS, sample_id


def card(subject: DatasetSubject) -> None:
    """The card says what the data are, where they come from, who may have them and, for files, how to get them."""
    fields = ["title", "summary", "source", "licence", *([] if subject.cls.embedded else ["obtain", "tree"])]
    empty = [field for field in fields if not getattr(subject.cls.card, field).strip()]
    if empty:
        raise Failed(f"card: {', '.join(empty)} must not be empty")


def constants(subject: DatasetSubject) -> None:
    """The normalisation is of images in [0, 1], and the default settings exist."""
    cls = subject.cls
    if len(cls.mean) != 3 or not all(0 <= value <= 1 for value in cls.mean):
        raise Failed(f"mean = {cls.mean}: expected three colours in [0, 1]")
    if len(cls.std) != 3 or not all(0 < value <= 1 for value in cls.std):
        raise Failed(f"std = {cls.std}: expected three numbers in (0, 1]")
    make_settings("defaults", cls.defaults)


def missing_root(subject: DatasetSubject) -> None:
    """Where the files are missing, a UserError names the folder in its first line."""
    if subject.cls.embedded:
        raise NotApplicable("the dataset needs no files")
    with tempfile.TemporaryDirectory() as parent:
        root = Path(parent).resolve() / "missing"
        try:
            subject.cls(root, dict(subject.values)).index()
        except UserError as error:
            first = str(error).partition("\n")[0]
            if str(root) not in first:
                raise Failed(f"index() of a folder that does not exist says {first!r}, without naming {root}") from None
            return
        except Exception as error:
            raise Failed(
                f"index() of a folder that does not exist raises {type(error).__name__}; expected UserError with the folder"
            ) from error
    raise Failed("index() of a folder that does not exist raises nothing; expected UserError with the folder")


def tasks(subject: DatasetSubject) -> None:
    """Tasks and their metrics have unique names, and the primary metric is one of them."""
    names = [task.name for task in subject.dataset.tasks]
    if not names:
        raise Failed("there is no task")
    if repeated := _repeated([*names, "image"]):
        raise Failed(f"task names must be unique (and not 'image'): {', '.join(repeated)}")
    for task in subject.dataset.tasks:
        metrics = [metric.name for metric in task.metrics]
        if repeated := _repeated(metrics):
            raise Failed(f"{task.name}: metric names must be unique: {', '.join(repeated)}")
        if task.primary not in task.metrics:
            raise Failed(f"{task.name}: the primary metric {task.primary.name!r} is none of {', '.join(metrics)}")
        require_json(f"{task.name}: describe()", task.describe())


def description(subject: DatasetSubject) -> None:
    """describe() is JSON, the same for equal options, and another one when an option changes the samples."""
    described = subject.dataset.describe()
    require_json("describe()", described)
    if subject.make().describe() != described:
        raise Failed("describe() differs between two instances with equal options")
    if not subject.dataset.split_rule().strip():
        raise Failed("split_rule() must say how the splits were made")
    before = _content(subject.dataset, subject)
    for name in subject.cls.hypers:
        for value in other_values(subject.cls, name, subject.values[name]):
            other = _with_option(subject, name, value)
            if other is None:  # the option does not fit the others, or the files
                continue
            if other.describe() == described and _content(other, subject) != before:
                raise Failed(
                    f"{name} = {value!r} changes the samples and describe() stays the same: prepared data would be mixed up"
                )
            break


def index(subject: DatasetSubject) -> None:
    """There are train, val and test splits, no key stands twice in one, and asking again gives the same."""
    try:
        splits = subject.make().index()
    except UserError as error:
        raise Failed(str(error).partition("\n")[0]) from None
    if missing := [split for split in REQUIRED_SPLITS if not splits.get(split)]:
        raise Failed(f"there are no samples for {', '.join(missing)}")
    for split, keys in splits.items():
        if split not in REQUIRED_SPLITS and not split.startswith("test-"):
            raise Failed(f"split {split!r}: further splits are shifted test sets and are named test-…")
        if repeated := _repeated([sample_id(key) for key in keys]):
            raise Failed(f"{split} has several samples named {repeated[0]!r}")
    again = subject.make().index()
    if [(split, list(keys)) for split, keys in again.items()] != [(split, list(keys)) for split, keys in splits.items()]:
        raise Failed("index() gives other keys, or another order, when it is asked for again")


def disjoint_splits(subject: DatasetSubject) -> None:
    """No sample is in two splits."""
    for first, second in combinations(subject.index, 2):
        shared = set(subject.index[first]) & set(subject.index[second])
        if shared:
            raise Failed(f"{first} and {second} have {len(shared)} samples in common, such as {next(iter(shared))!r}")


def scenes(subject: DatasetSubject) -> None:
    """scene() is a text or None, the same whenever it is asked for."""
    for key in subject.all_keys:
        scene = subject.dataset.scene(key)
        if scene is not None and not isinstance(scene, str):
            raise Failed(f"scene({key!r}) is a {type(scene).__name__}: expected a text, or None where it is unknown")
        if subject.make().scene(key) != scene:
            raise Failed(f"scene({key!r}) differs between two instances")


def files(subject: DatasetSubject) -> None:
    """files() names existing raw files, each once; they make the fingerprint."""
    if subject.cls.embedded:
        raise NotApplicable("the dataset needs no files")
    _ = subject.index
    paths = list(subject.dataset.files())
    if not paths:
        raise Failed("files() is empty: changed raw files would not change the fingerprint")
    if missing := [path for path in paths if not path.exists()]:
        raise Failed(f"files() names {missing[0]}, which does not exist")
    if repeated := _repeated([str(path) for path in paths]):
        raise Failed(f"files() names {repeated[0]} more than once")


def shared_scenes(subject: DatasetSubject) -> str:
    """How many scenes each split has, and whether train or val share any with another split: information, no failure."""
    scene, index = subject.dataset.scene, subject.index
    known = {split: {scene(key) for key in keys} - {None} for split, keys in index.items()}
    if not any(known.values()):
        return "scenes are not known: every image counts as one"
    # Shifted test sets may show the scenes of test: only what is trained or selected on must not be seen again.
    pairs = [(first, second) for first, second in combinations(known, 2) if {first, second} & {"train", "val"}]
    shared = [
        f"{first} and {second} share {len(known[first] & known[second]):,}"
        for first, second in pairs
        if known[first] & known[second]
    ]
    counts = ", ".join(f"{split} {len(names):,}" for split, names in known.items())
    return f"scenes: {counts}; {'; '.join(shared) or 'train and val share none with any other split'}"


def _repeated(names: list[str]) -> list[str]:
    return [name for name, count in Counter(names).items() if count > 1]


def _with_option(subject: DatasetSubject, name: str, value: object) -> Dataset | None:
    """The dataset with one option changed; None where that is refused or does not fit the files."""
    try:
        dataset = subject.make(**{name: value})
        dataset.index()
    except UserError:
        return None
    return dataset


def _content(dataset: Dataset, subject: DatasetSubject) -> object:
    """What an option may change: sizes of splits, tasks, and the first sample of each split."""
    try:
        splits = dataset.index()
        first = [dataset.load(keys[0]) for keys in splits.values() if len(keys)]
    except Exception:  # said by the properties `index` and `samples`
        return None
    described = [(task.name, task.kind, task.channels) for task in dataset.tasks]
    arrays = [{name: (array.dtype.str, array.shape, array.tobytes()) for name, array in sample.items()} for sample in first]
    return [(split, len(keys)) for split, keys in splits.items()], described, dataset.image_size, arrays
