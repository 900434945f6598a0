"""Template: one sentence (authors, venue and year, arXiv number, equation or figure).

    x_t = 2 σ(g_t) ⊙ x        (eq. …)

Legend: x the last feature map of the shared trunk, C channels; g_t one learned number per channel and task, `start` at
first; σ the logistic function; x_t what task t's head reads. With g_t = 0 this is hard parameter sharing.

Deviations from the paper: none. (Name here whatever differs from the published text or code, and why.)
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from mtlbench.contract import Architecture, Hyper, Maps, SharingPlan, Uniform


class Gate(nn.Module):
    """Scales every channel of a feature map by a factor between 0 and 2.

    Args:
        channels: C.
        start: g_t at first, for every channel.
    """

    def __init__(self, channels: int, start: float) -> None:
        super().__init__()
        self.gate = nn.Parameter(torch.full((channels,), start))

    def forward(self, x: Tensor) -> Tensor:
        """[B, C, H, W] → the same shape."""
        return 2 * torch.sigmoid(self.gate).view(1, -1, 1, 1) * x


class Template(Architecture):
    """A shared trunk, with gates of each task's own before its head."""

    # Hyper-parameters: type, default, bounds, where a search may look, one line of help. In the code they are plain
    # attributes; on the command line `--method-arg start=1` changes one.
    start: float = Hyper(0.0, search=Uniform(-1.0, 1.0), ge=-5, le=5, help="g_t at first: 0 leaves every channel as it is")

    def build(self) -> None:
        # The protocol decides backbone, heads and initial weights: `new_backbone()` is a copy of the backbone, and heads
        # (`self.heads`) are there already. Further modules may be drawn at random here: the trial's seed decides them.
        self.trunk = self.new_backbone()
        self.gates = nn.ModuleDict({task: Gate(self.stage_channels[-1], self.start) for task in self.tasks})
        # Whose losses reach which parameters. Heads belong to their tasks; what is not declared belongs to all.
        for task in self.tasks:
            self.own(self.gates[task], [task])

    def features(self, image: Tensor, tasks: Sequence[str]) -> dict[str, Maps]:
        # Normalised images [B, 3, H, W] → for each task that is asked for, one feature map per stage, from fine to coarse.
        maps = self.trunk(image)
        return {task: [*maps[:-1], self.gates[task](maps[-1])] for task in tasks}

    def plan(self) -> SharingPlan:
        # What the sharing picture draws: which variant of each block a task runs. Here all tasks run the same ones.
        return SharingPlan.shared([unit.name for unit in self.block_units()], list(self.tasks))

    # An architecture whose tasks only choose between blocks sets `self.graph = SharingGraph(units, plan)` in `build` and
    # needs neither `features` nor `plan`. More that may be overridden (docs/adding_a_method.md): `phases` (training in
    # several parts), `structure` and `restore_structure` (networks that change), `deploy`, `predict_all`, `artefacts`.
