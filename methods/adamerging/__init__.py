"""AdaMerging: adaptive model merging (Yang et al., ICLR 2024, arXiv:2310.02575), layer-wise.

    θ^l = θ_0^l + Σ_t λ_t^l τ_t^l,   λ ∈ [0, 1], learned
    minimise over λ: Σ_t mean over predictions of H(p_t)                       H(p) = −Σ_c p_c log p_c

Legend: t tasks; l parameters of the trunk (a convolution's weights, a BatchNorm's scales, …); τ_t = θ_t − θ_0 task vectors
(`_shared/merging.py`); p_t class probabilities of task t's own head on the merged trunk.

Choices and deviations from the official code:
    Images. Training images: the published method adapts on unlabelled test images, which no method may see here.
    Objective. Entropy says nothing of regression. objective="auto" minimises it for segmentation and classification, and the
    task's own loss on labels for all others; "loss" uses labels for all.
    Adapting is a phase of its own and takes `adapting` of the budget; its steps are few, so the rate is higher (`rate`).
    BatchNorm goes by the batch meanwhile; the official networks have none.
"""

from __future__ import annotations

import copy
from typing import Any, ClassVar, Literal

import torch
from torch import nn
from torch.func import functional_call

from mtlbench.contract import Batch, Hyper, LogUniform, Phase, Publication, Run, Strategy, TaskLosses, Uniform

from .._shared.merging import Merging, SingleTasks, Weights
from .adapting import Adapting, entropy, variant_name


class AdaMerging(Merging):
    """Learn how much of each task's change of every layer goes into the merged trunk."""

    minimum_epochs: ClassVar[int] = 2
    publication: ClassVar[Publication | None] = Publication(
        "Yang et al.", "ICLR", 2024, "AdaMerging: Adaptive Model Merging for Multi-Task Learning", arxiv="2310.02575"
    )
    compared_with: ClassVar[str] = "official code"

    start: float = Hyper(0.3, search=Uniform(0.1, 0.6), ge=0, le=1, help="λ at first")
    adapting: float = Hyper(0.1, search=Uniform(0.05, 0.3), gt=0, lt=1, help="share of the budget that learning λ takes")
    objective: Literal["auto", "loss"] = Hyper("auto", help="entropy where a task has one, else its loss; or losses alone")
    rate: Literal["auto"] | float = Hyper(
        "auto", search=LogUniform(1e-3, 0.1), gt=0, help="constant Adam rate of λ; auto: .001, more in a short phase"
    )

    def build(self) -> None:
        super().build()
        parameters, tasks = len(self.initial_trunk()), len(self.tasks)
        self.coefficients = nn.Parameter(torch.full((parameters, tasks), self.start), requires_grad=False)
        self.singles = nn.Module()  # the single-task trunks, kept while coefficients are learned

    def owners(self) -> dict[str, frozenset[str]]:
        """Before there is something to merge, the coefficients are nobody's."""
        owners = super().owners()
        return owners if self.is_merged else {**owners, "coefficients": frozenset()}

    def merged(self, start: Weights, ends: list[Weights]) -> Weights:
        coefficients = self.coefficients.clamp(0.0, 1.0)
        return {
            name: start[name] + sum(rate * (end[name] - start[name]) for rate, end in zip(row, ends, strict=True))
            for name, row in zip(start, coefficients, strict=True)
        }

    def become_merged(self) -> Any:
        assert self.graph is not None
        self.singles = self.graph.requires_grad_(False)
        return super().become_merged()

    def trunks(self) -> list[Weights]:
        """The θ_t, wherever they are."""
        if not self.is_merged:
            return super().trunks()
        graph, self.graph = self.graph, self.singles  # type: ignore[assignment]
        try:
            return super().trunks()
        finally:
            self.graph = graph

    def losses_with(self, batch: Batch, start: Weights, ends: list[Weights]) -> TaskLosses:
        """The objective per task, as a function of the coefficients."""
        assert self.graph is not None
        weights = {variant_name(name): value for name, value in self.merged(start, ends).items()}
        tasks = [task for task in self.tasks if self.by_entropy(task) or batch.has_labels(task)]
        if not tasks:
            return {}
        maps = functional_call(self.graph, weights, (self.normalised(batch.image), tasks, batch.rows))
        predictions = {task: self.read_out(task, maps[task], batch.image) for task in tasks}
        return {
            task: entropy(prediction) if self.by_entropy(task) else self.tasks[task].loss(prediction, batch.target(task))
            for task, prediction in predictions.items()
        }

    def by_entropy(self, task: str) -> bool:
        """Whether the task learns without labels."""
        return self.objective == "auto" and self.tasks[task].kind in ("segmentation", "classification")

    def deploy(self) -> nn.Module:
        shipped = copy.copy(self)
        shipped._modules = {name: module for name, module in self._modules.items() if name != "singles"}
        return shipped

    def extra(self) -> dict[str, float]:
        return {**super().extra(), "mean coefficient": float(self.coefficients.clamp(0.0, 1.0).mean())}

    def phases(self, run: Run, strategy: Strategy) -> list[Phase]:
        trained = run.budget.epochs
        adapted = max(1, round(trained * self.adapting / (1 - self.adapting)))
        if run.budget.mode == "equal_total":
            trained, adapted = run.budget.split(1 - self.adapting, self.adapting)
        return [SingleTasks(self, trained, strategy, merges=False), Adapting(self, adapted, strategy)]
