"""Where a method comes from: shown by `mtlbench list` and the table of methods in the docs."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Publication:
    """The paper that a method is implemented from.

    Write the arguments as literals: `mtlbench list` reads them from the file without importing it.

    Attributes:
        authors: "Yu et al."
        venue: "NeurIPS", "arXiv".
        year: of the venue.
        arxiv: the number, "2001.06782"; empty where the paper is not on arXiv.
        title: of the paper.
    """

    authors: str
    venue: str
    year: int
    title: str
    arxiv: str = ""

    @property
    def citation(self) -> str:
        """ "Yu et al., NeurIPS 2020" """
        return f"{self.authors}, {self.venue} {self.year}"

    @property
    def url(self) -> str:
        """The paper's page on arXiv; empty where there is none."""
        return f"https://arxiv.org/abs/{self.arxiv}" if self.arxiv else ""
