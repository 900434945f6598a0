"""What a plugin's class says of itself: description, hyper-parameters, packages that it needs."""

from __future__ import annotations

from dataclasses import dataclass

from mtlbench.conformance.suite import Failed, Suite
from mtlbench.contract import Choice, LogUniform, Simplex, Uniform
from mtlbench.contract.hyper import Configurable, HyperInfo
from mtlbench.errors import UserError


@dataclass(frozen=True)
class ClassSubject:
    """A plugin's class and name."""

    name: str
    cls: type[Configurable]


SUITE = Suite[ClassSubject]()


@SUITE.add
def described(subject: ClassSubject) -> None:
    """The class has a description, whose first line `mtlbench list` shows."""
    if not (subject.cls.__dict__.get("__doc__") or "").strip():
        raise Failed(f"{subject.cls.__name__} has no docstring: say in one line what it does")


@SUITE.add
def hyper_parameters(subject: ClassSubject) -> None:
    """Every hyper-parameter has one line of help, and its default and its search range are within its bounds."""
    for name, info in subject.cls.hypers.items():
        if not info.help.strip() or "\n" in info.help:
            raise Failed(f"{name} needs `help=` of one line")
        for value, which in [(info.default, "default"), *((value, "search range") for value in searched(name, info))]:
            try:
                subject.cls.configure({name: value}, subject.name)
            except UserError as error:
                raise Failed(f"the {which} of {name} does not fit its declaration: {error}") from None


@SUITE.add
def required_packages(subject: ClassSubject) -> None:
    """`requires` says of every package how to install it."""
    for package, hint in subject.cls.requires.items():
        if "install" not in hint:
            raise Failed(f"`requires` names {package!r} with {hint!r}: say how to install it, such as 'pip install …'")


def searched(name: str, info: HyperInfo) -> list[object]:
    """The ends of a search range, or all values of a choice."""
    match info.search:
        case None:
            return []
        case Choice(values=values):
            if not values:
                raise Failed(f"{name} is searched among no values")
            return list(values)
        case Simplex():
            return [{"one": 0.25, "other": 0.75}]
        case Uniform(low=low, high=high) | LogUniform(low=low, high=high):
            if not low < high or (isinstance(info.search, LogUniform) and low <= 0):
                raise Failed(f"{name} is searched in [{low}, {high}]: expected low < high, and 0 < low for a logarithm")
            return [low, high]
