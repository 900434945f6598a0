"""Hard parameter sharing (Caruana, "Multitask Learning", Machine Learning 28, 1997)."""

from typing import ClassVar

from mtlbench.contract import Architecture, Publication, SharingGraph, SharingPlan


class HardSharing(Architecture):
    """One trunk for all tasks, one head each."""

    family: ClassVar[str] = "hard sharing"
    publication: ClassVar[Publication | None] = Publication("Caruana", "Machine Learning", 1997, "Multitask Learning")

    def build(self) -> None:
        units = self.block_units()
        self.graph = SharingGraph(units, SharingPlan.shared([unit.name for unit in units], list(self.tasks)))
