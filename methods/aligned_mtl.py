"""Aligned-MTL: independent component alignment (Senushkin et al., CVPR 2023, arXiv:2305.19000, algorithm 1)."""

from collections.abc import Callable
from typing import ClassVar, Literal

from torch import Tensor

from mtlbench.contract import Choice, Hyper, JacobianStrategy, Publication, TaskLosses


class AlignedMTL(JacobianStrategy):
    """Replace the task gradients by the nearest ones that are orthogonal and equally long, and average those.

    torchjd's weighting. Other code sums: T times this. `gradients="features"` is the paper's upper bound, Aligned-MTL-UB.
    """

    family: ClassVar[str] = "gradient combination"
    publication: ClassVar[Publication | None] = Publication(
        "Senushkin et al.", "CVPR", 2023, "Independent Component Alignment for Multi-Task Learning", arxiv="2305.19000"
    )
    compared_with: ClassVar[str] = "LibMTL and torchjd"

    invariances: ClassVar[frozenset[str]] = frozenset({"one_task", "task_order"})
    feature_gradients: ClassVar[bool] = True

    scale: Literal["min", "median", "rmse"] = Hyper(
        "min", search=Choice(("min", "median", "rmse")), help="which singular value all components are scaled to"
    )

    def setup(self) -> None:
        from torchjd.aggregation import AlignedMTLWeighting

        self.weighting: Callable[[Tensor], Tensor] = AlignedMTLWeighting(scale_mode=self.scale)

    def weights(self, gramian: Tensor, losses: TaskLosses) -> Tensor:
        return self.weighting(gramian)
