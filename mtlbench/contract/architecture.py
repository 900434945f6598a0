"""What an architecture is: which blocks which task runs, and what passes between tasks."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from torch import nn

from mtlbench.contract.hyper import Configurable
from mtlbench.contract.network import MultiTaskNetwork, NetworkConfig
from mtlbench.contract.phase import Phase
from mtlbench.contract.run import Run
from mtlbench.contract.strategy import Strategy
from mtlbench.errors import UserError
from mtlbench.networks.plan import Exchange, SharingPlan


class Architecture(Configurable, MultiTaskNetwork):
    """Base of all architectures. Override `build`, and `features` unless `build` sets `self.graph`.

    Attributes:
        shares: False when the tasks share no parameter at all (strategies that need sharing are refused then).
        minimum_epochs: the smallest budget the method makes sense with; less is refused.
        needs: what the backbone must provide: "residual blocks" that can be skipped, "feature maps" at several scales.
    """

    shares: ClassVar[bool] = True
    minimum_epochs: ClassVar[int] = 1
    needs: ClassVar[frozenset[str]] = frozenset()

    def __init__(self, config: NetworkConfig, hypers: Mapping[str, Any]) -> None:
        super().__init__(config)
        self.set_hypers(hypers)
        missing = sorted(self.needs - self.template.provides)
        if missing:
            name, backbone = type(self).__name__, config.backbone.name
            raise UserError(f"{name} needs {' and '.join(missing)}, which {backbone} does not have: choose a ResNet.")
        with self.initial("method"):
            self.build()

    def build(self) -> None:
        """Create the trunk: set `self.graph`, or create modules that `features` uses; declare who owns them with `own`."""
        raise NotImplementedError

    def plan(self) -> SharingPlan:
        """The sharing plan: what is drawn and recorded."""
        if self.graph is None:
            raise NotImplementedError
        return self.graph.plan

    def exchange(self) -> list[Exchange]:
        """What tasks get from each other, or from experts, beyond the plan: edges with learned weights, drawn with it.

        Soft sharing says here what it is; a plan that tells everything needs none.
        """
        return []

    def further_plans(self) -> dict[str, SharingPlan]:
        """Plans by name that are not deployed, and worth a dataset's measures: what a policy holds most likely, say."""
        return {}

    def phases(self, run: Run, strategy: Strategy) -> list[Phase]:
        """The training's phases under the run's budget. Default: all epochs with the strategy."""
        return [Phase("train", run.budget.epochs, strategy)]

    def structure(self) -> dict[str, Any]:
        """What must be known of the structure before weights can be loaded (JSON)."""
        return {}

    def restore_structure(self, structure: dict[str, Any]) -> None:
        """Take on a saved structure; its weights are loaded afterwards."""

    def deploy(self) -> nn.Module:
        """The network a user would ship: called like the architecture. Costs, metrics and robustness are of this one."""
        return self

    def extra(self) -> dict[str, float]:
        """Numbers of the final network for columns of the leaderboard."""
        return {}

    def artefacts(self) -> dict[str, Any]:
        """What pictures of the method are drawn from (JSON)."""
        return {}
