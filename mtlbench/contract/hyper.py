"""Hyper-parameters, declared on the class that uses them.

    class CrossStitch(Architecture):
        own_weight: float = Hyper(0.9, search=Uniform(0.5, 1.0), help="initial weight of a task's own features")

`Configurable` collects the declarations, checks given values against the annotation and sets them as attributes.
Nothing is read from a global configuration.
"""

from __future__ import annotations

import inspect
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, TypeVar, cast, get_origin

from pydantic import ConfigDict, TypeAdapter, ValidationError

from mtlbench.contract.bounds import Bounds
from mtlbench.errors import UserError, did_you_mean, shown
from mtlbench.publication import Publication

Value = TypeVar("Value")


@dataclass(frozen=True)
class Uniform:
    """Search uniformly in [low, high]."""

    low: float
    high: float


@dataclass(frozen=True)
class LogUniform:
    """Search uniformly in the logarithm of [low, high], 0 < low."""

    low: float
    high: float


@dataclass(frozen=True)
class Choice:
    """Search among the given values."""

    values: tuple[Any, ...]


@dataclass(frozen=True)
class Simplex:
    """Search uniformly among shares of the tasks: one number per task, 0 or more, 1 in sum.

    For hyper-parameters that map tasks to numbers (`dict[str, float]`): a search draws T − 1 numbers for T tasks.
    """


Search = Uniform | LogUniform | Choice | Simplex


def describe_range(search: Search) -> str:
    """A search range in words."""
    match search:
        case Uniform(low=low, high=high):
            return f"{low:g} to {high:g}"
        case LogUniform(low=low, high=high):
            return f"{low:g} to {high:g}, logarithmic"
        case Choice(values=values):
            return ", ".join(map(str, values))
        case Simplex():
            return "shares of the tasks"


@dataclass(frozen=True)
class HyperInfo:
    """One declared hyper-parameter.

    Attributes:
        default: the value when none is given.
        search: where a search may look; None keeps the hyper-parameter out of searches.
        help: one line.
        bounds: what a given value must satisfy beyond its annotation.
    """

    default: Any
    search: Search | None
    help: str
    bounds: Bounds


def Hyper(  # noqa: N802
    default: Value,
    *,
    help: str,
    search: Search | None = None,
    ge: float | None = None,
    gt: float | None = None,
    le: float | None = None,
    lt: float | None = None,
    choices: tuple[object, ...] | None = None,
    min_length: int | None = None,
    max_length: int | None = None,
) -> Value:
    """Declare a hyper-parameter: `width: int = Hyper(64, ge=1, help="channels of the fusion")`.

    Args:
        default: the value when none is given.
        help: one line for `mtlbench list NAME`.
        search: the range that a hyper-parameter search draws from; None keeps it out of searches.
        ge, gt, le, lt: bounds of a number, or of every number of a sequence or mapping (see `Bounds`).
        choices: the allowed values, where the annotation (`Literal`) does not say them.
        min_length, max_length: bounds of a collection's length.
    """
    # A type checker sees the attribute's value; `Configurable` replaces the declaration by the default.
    return cast(Value, HyperInfo(default, search, help, Bounds(ge, gt, le, lt, choices, min_length, max_length)))


class Configurable:
    """Base of everything that has hyper-parameters: architectures, strategies, datasets.

    Attributes:
        hyper_word: what errors call a hyper-parameter.
        requires: packages beyond mtlbench's own that the plugin needs, module name → how to install it. Without one of
            them the plugin is listed as unavailable.
        family: the heading that `mtlbench list` puts the plugin under.
        publication: the paper it is implemented from; None where there is none (a baseline, a control).
        compared_with: what its outputs were compared with, as tests/golden/README.md describes it: "official code",
            "LibMTL", "torchjd". Empty: with the paper's equations alone.
    """

    hyper_word: ClassVar[str] = "hyper-parameter"
    hypers: ClassVar[dict[str, HyperInfo]] = {}
    requires: ClassVar[dict[str, str]] = {}
    family: ClassVar[str] = ""
    publication: ClassVar[Publication | None] = None
    compared_with: ClassVar[str] = ""

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        own = {name: value for name, value in vars(cls).items() if isinstance(value, HyperInfo)}
        cls.hypers = {**cls.hypers, **own}
        for name, info in own.items():
            setattr(cls, name, info.default)

    @classmethod
    def configure(cls, given: Mapping[str, Any], owner: str) -> dict[str, Any]:
        """All hyper-parameter values: the given ones checked, the rest at their defaults.

        Raises:
            UserError: an unknown name (with the nearest known one), a value of another type, or one out of its range.
        """
        values = {name: info.default for name, info in cls.hypers.items()}
        for name, value in given.items():
            if name not in cls.hypers:
                raise UserError(f"{owner} has no {cls.hyper_word} {shown(name)}.{did_you_mean(name, cls.hypers)}")
            values[name] = _checked(value, cls._kind(name), cls.hypers[name], f"{owner}: {name}")
        return values

    @classmethod
    def _kind(cls, name: str) -> Any:
        """The annotation of one hyper-parameter. (Others on the class may name what is imported for checkers only.)"""
        owner = next(base for base in cls.__mro__ if name in inspect.get_annotations(base))
        kind = inspect.get_annotations(owner)[name]
        return eval(kind, vars(sys.modules[owner.__module__])) if isinstance(kind, str) else kind

    def set_hypers(self, values: Mapping[str, Any]) -> None:
        """Set checked values as attributes (`configure` made them)."""
        for name, value in values.items():
            object.__setattr__(self, name, value)


def _checked(value: Any, kind: Any, info: HyperInfo, where: str) -> Any:
    try:
        result = TypeAdapter(kind, config=ConfigDict(allow_inf_nan=False)).validate_python(value)
    except ValidationError as error:
        first = error.errors()[0]
        raise UserError(
            f"{where} = {shown(value)} is refused: {first['msg']} (expected {_type_name(kind)}). {info.help}"
        ) from None
    name = where.rsplit(" ", 1)[-1]
    if not info.bounds.admit(result):
        raise UserError(f"{where} = {shown(value)} is out of range: expected {info.bounds.describe(name)}. {info.help}")
    return result


def _type_name(kind: Any) -> str:
    # `list[str]` passes for a class on Python 3.10; what tells it apart is that it has an origin.
    return kind.__name__ if isinstance(kind, type) and get_origin(kind) is None else str(kind).replace("typing.", "")
