"""Tuned scalarisation: fixed task weights, found by a search (Kurin et al., NeurIPS 2022; Xin et al., NeurIPS 2022)."""

from typing import ClassVar

from mtlbench.contract import Batch, Hyper, Publication, Simplex, Strategy, TaskLosses, UserError


class TunedScalarisation(Strategy):
    """Descend the weighted sum of the task losses, with weights that never change.

        θ:  descend  T Σ_t w_t L_t,        w_t ≥ 0,  Σ_t w_t = 1

    `mtlbench tune` draws w uniformly from the simplex: T − 1 dimensions, as Xin et al. count them. The factor T makes equal
    weights the plain sum of the losses. Without a search the weights are equal, and the strategy is `equal`. It differs
    from `fixed` in its default (`fixed` begins with the dataset's published weights) and in that it is searched.
    """

    family: ClassVar[str] = "baseline"
    publication: ClassVar[Publication | None] = Publication(
        "Xin et al.",
        "NeurIPS",
        2022,
        "Do Current Multi-Task Optimization Methods in Deep Learning Even Help?",
        arxiv="2209.11379",
    )

    invariances: ClassVar[frozenset[str]] = frozenset({"one_task", "task_order"})

    weights: dict[str, float] = Hyper(
        {}, search=Simplex(), ge=0, help="weight by task, of which only the ratios count; empty: equal weights"
    )

    def setup(self) -> None:
        weights = self.weights or dict.fromkeys(self.tasks, 1.0)
        if set(weights) != set(self.tasks):
            raise UserError(
                f"tuned_scalarisation: weights names {', '.join(sorted(weights))}, but the tasks are "
                f"{', '.join(self.tasks)}: give every task a weight, or none."
            )
        if (sum_of_weights := sum(weights.values())) <= 0:
            raise UserError("tuned_scalarisation: all weights are 0: give at least one task a weight above 0.")
        self.weight_of = {task: len(weights) * weight / sum_of_weights for task, weight in weights.items()}

    def step(self, batch: Batch) -> TaskLosses:
        losses = self.losses(batch)
        self.descend({task: self.weight_of[task] * loss for task, loss in losses.items()})
        return losses
