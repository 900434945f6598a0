"""Hard parameter sharing (Caruana, "Multitask Learning", Machine Learning 28, 1997)."""

from mtlbench.contract import Architecture, SharingGraph, SharingPlan


class HardSharing(Architecture):
    """One trunk for all tasks, one head each."""

    def build(self) -> None:
        units = self.block_units()
        self.graph = SharingGraph(units, SharingPlan.shared([unit.name for unit in units], list(self.tasks)))
