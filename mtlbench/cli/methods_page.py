"""The page docs/methods.md: every method with its properties, by family. Read from sources, without importing torch."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mtlbench.discovery.facts import Facts

FAMILIES = (
    "baseline",
    "control",
    "hard sharing",
    "soft sharing",
    "mixture of experts",
    "decoder-focused",
    "branched",
    "learned sharing",
    "task grouping",
    "merging",
    "loss weighting",
    "gradient combination",
    "alternating steps",
    "bilevel",
)
"""The order of the families; others follow by name."""


def by_family(plugins: Iterable[Facts]) -> dict[str, list[Facts]]:
    """Family → its plugins, in the families' order."""
    families: dict[str, list[Facts]] = {}
    for plugin in plugins:
        families.setdefault(plugin.family, []).append(plugin)

    def place(family: str) -> tuple[int, str]:
        return (FAMILIES.index(family) if family in FAMILIES else len(FAMILIES), family)

    return {family: families[family] for family in sorted(families, key=place)}


def methods_markdown(methods: Iterable[Facts]) -> str:
    """The table of docs/methods.md: every method with its properties."""
    header = ("method", "kind", "paper", "cost of a step", "needs shared weights", "invariant to", "compared with")
    lines = [
        "# Methods",
        "",
        "Written by `mtlbench list methods --markdown > docs/methods.md`; a test compares the page with the plugins.",
        "",
        "An architecture says what is shared, a strategy how the losses move the weights. `cross_stitch+pcgrad` pairs",
        "them; an architecture alone runs with `equal`, a strategy alone on `hard_sharing`. T is the number of tasks.",
        "A strategy that needs shared weights is refused where tasks share none. `one_task`: with a single task it",
        "trains as plain training does; `task_order`: the order of the tasks changes nothing; `loss_scale`: scaling",
        "one task's loss changes nothing. *Compared with* names the implementation whose numbers the tests hold",
        "([tests/golden](../tests/golden/README.md)). Deviations from the paper and from official code stand in each",
        "file's description.",
    ]
    for family, members in by_family(method for method in methods if method.usable).items():
        lines += ["", f"## {family[:1].upper() + family[1:] or 'Others'}", ""]
        lines += [" | ".join(("", *header, "")).strip(), "|" + "---|" * len(header)]
        for method in members:
            publication = method.publication
            paper = ""
            if publication:
                linked = f"[{publication.citation}]({publication.url})" if publication.url else publication.citation
                paper = f"{linked}: {publication.title}"
            is_strategy = method.kind == "strategy"
            file = method.path.parent.name if method.path.name == "__init__.py" else method.path.name
            cells = (
                f"[`{method.name}`](../methods/{file})",
                method.kind,
                paper,
                method.passes if is_strategy else "its own FLOPs",
                "yes" if method.needs_sharing else "",
                ", ".join(sorted(method.invariances)) if is_strategy else "",
                method.compared_with or ("the paper's equations" if publication else ""),
            )
            lines.append(" | ".join(("", *cells, "")).strip())
    return "\n".join(lines)
