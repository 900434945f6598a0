"""MMoE: multi-gate mixture of experts (Ma et al., KDD 2018).

    y_t = h_t(f_t(x)),   f_t(x) = Σ_e g_t(x)_e f_e(x),   g_t(x) = softmax(W_t x)

Legend: t tasks; e experts, which all tasks share; h_t a task's head; g_t its gate.

Deviations from the paper: experts are convolutional, with all their stages' maps mixed by one gate; gates have a bias. From
LibMTL's code: a gate reads the image averaged on a grid of 4 × 4 cells, not every pixel, so that it fits any size.
"""

from __future__ import annotations

from typing import ClassVar

from mtlbench.contract import Publication

from ._shared.experts import SharedExperts


class MMoE(SharedExperts):
    """Experts that all tasks share; every task mixes them by a gate of its own, image by image."""

    family: ClassVar[str] = "mixture of experts"
    publication: ClassVar[Publication | None] = Publication(
        "Ma et al.",
        "KDD",
        2018,
        "Modeling Task Relationships in Multi-task Learning with Multi-gate Mixture-of-Experts",
    )
    compared_with: ClassVar[str] = "LibMTL"
