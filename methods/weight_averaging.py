"""Weight averaging: the merged trunk is the mean of the single-task trunks.

    θ = 1/T Σ_t θ_t

As in model soups (Wortsman et al., ICML 2022, arXiv:2203.05482), whose networks are trained on one and the same task; with
several tasks it is the plainest baseline of merging: task arithmetic with λ = 1/T. What is merged: `_shared/merging.py`.
"""

from typing import ClassVar

import torch

from mtlbench.contract import Publication

from ._shared.merging import Merging, Weights


class WeightAveraging(Merging):
    """Average the trunks of trained single-task networks."""

    publication: ClassVar[Publication | None] = Publication(
        "Wortsman et al.",
        "ICML",
        2022,
        "Model soups: averaging weights of multiple fine-tuned models improves accuracy without increasing inference time",
        arxiv="2203.05482",
    )
    compared_with: ClassVar[str] = "official code of RegMean"

    def merged(self, start: Weights, ends: list[Weights]) -> Weights:
        return {name: torch.stack([end[name] for end in ends]).mean(0) for name in start}
