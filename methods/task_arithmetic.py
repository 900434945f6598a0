"""Task arithmetic (Ilharco et al., "Editing Models with Task Arithmetic", ICLR 2023, arXiv:2212.04089).

    τ_t = θ_t − θ_0,   θ = θ_0 + λ Σ_t τ_t

Legend: θ_t the trunks of trained single-task networks; θ_0 their common initialisation (`_shared/merging.py`); λ `scale`.

Deviation: λ is a hyper-parameter; the paper takes the best of 20 values on held-out data. The default is what is used with
eight tasks; 1/T is weight averaging.
"""

from typing import ClassVar

from mtlbench.contract import Hyper, Publication, Uniform

from ._shared.merging import Merging, Weights, moved, task_vectors


class TaskArithmetic(Merging):
    """Add all tasks' changes of the trunk, scaled, to the common initialisation."""

    publication: ClassVar[Publication | None] = Publication(
        "Ilharco et al.", "ICLR", 2023, "Editing Models with Task Arithmetic", arxiv="2212.04089"
    )
    compared_with: ClassVar[str] = "official code"

    scale: float = Hyper(0.3, search=Uniform(0.05, 1.0), ge=0, help="λ: how much of every task vector is added")

    def merged(self, start: Weights, ends: list[Weights]) -> Weights:
        return moved(start, self.scale * task_vectors(start, ends).sum(0))
