"""Faulty methods: each is a plugin file, the property that must find it, and what the reason must say."""

from __future__ import annotations

from typing import NamedTuple


class Fault(NamedTuple):
    """A faulty plugin.

    Attributes:
        code: the plugin's class, without imports.
        property: the property that finds it.
        reason: a regular expression that the reason must hold.
        others: properties that fail as a consequence, and no further ones may.
        trials: whether whole trials are needed to find it.
    """

    code: str
    property: str
    reason: str
    others: frozenset[str] = frozenset()
    trials: bool = False


IMPORTS = '''"""A method with a fault."""

from typing import ClassVar

import numpy as np
import torch
from torch import nn

from mtlbench.contract import (
    Architecture, Hyper, JacobianStrategy, Phase, SharingGraph, SharingPlan, Strategy, Uniform, total
)


'''

SHARED_TRUNK = '''
class Faulty(Architecture):
    """A shared trunk, with a layer of each task's own."""

    def build(self):
        self.trunk = self.new_backbone()
        width = self.stage_channels[-1]
        self.layers = nn.ModuleDict({task: nn.Conv2d(width, width, 1) for task in self.tasks})
        for task in self.tasks:
            self.own(self.layers[task], [task])

    def features(self, image, tasks):
        maps = self.trunk(image)
        return {task: [*maps[:-1], self.layers[task](maps[-1])] for task in tasks}

    def plan(self):
        return SharingPlan.shared([unit.name for unit in self.block_units()], list(self.tasks))
'''
"""A sound architecture, which faults are put into."""


def with_method(code: str) -> str:
    """The sound architecture with another method."""
    return f"{SHARED_TRUNK}\n{code}"


def replaced(old: str, new: str) -> str:
    """The sound architecture with one piece of text replaced."""
    assert old in SHARED_TRUNK
    return SHARED_TRUNK.replace(old, new)


ARCHITECTURES = {
    "wrong_owners": Fault(
        replaced("width = self", "self.own(self.trunk, list(self.tasks)[:1])\n        width = self"),
        "owners",
        r"the loss of \w+ reaches trunk\..*, which only \w+ owns: declare it with `own`",
        others=frozenset({"own_images"}),
    ),
    "no_owners": Fault(
        replaced("            self.own(self.layers[task], [task])", "            pass"),
        "owners",
        r"segmentation owns layers\.depth\.weight, and its loss does not reach it",
    ),
    "gradient_does_not_reach": Fault(
        replaced("maps = self.trunk(image)", "maps = [level.detach() for level in self.trunk(image)]"),
        "owners",
        r"segmentation owns trunk\..*, and its loss does not reach it",
        others=frozenset({"training"}),
    ),
    "gradient_is_zero": Fault(
        replaced("self.layers[task](maps[-1])", "maps[-1] + 0 * self.layers[task](maps[-1])"),
        "training",
        r"4 steps do not move layers\.",
    ),
    "wrong_shape": Fault(
        with_method(
            """
    def read_out(self, task, maps, image):
        return self.heads[task](maps)
"""
        ),
        "prediction_shapes",
        r"the prediction of segmentation has shape \[4, 4, 4, 4\]: expected \[4, 4, 32, 32\]",
        others=frozenset({"own_images", "unlabelled_tasks", "owners", "training", "deployed_network", "costs"}),
    ),
    "unasked_tasks": Fault(
        with_method(
            """
    def maps(self, image, tasks, rows):
        maps = super().maps(image, tasks, rows)
        return {task: [level / len(tasks) for level in maps[task]] for task in tasks}
"""
        ),
        "tasks_alone",
        r"segmentation asked for alone .* is another prediction",
    ),
    "ignores_own_images": Fault(
        with_method(
            """
    def maps(self, image, tasks, rows):
        return self.features(image, tasks)
"""
        ),
        "own_images",
        r"segmentation on its own 2 images is not of shape \[2, 4, 32, 32\]",
    ),
    "losses_of_unlabelled_tasks": Fault(
        with_method(
            """
    def losses(self, batch, tasks=None):
        predictions = self.forward(batch.image, tasks, batch.rows)
        return {task: self.tasks[task].loss(predictions[task], batch.target(task)) for task in predictions}
"""
        ),
        "unlabelled_tasks",
        r"there are losses of segmentation, depth, normals: expected segmentation, normals",
    ),
    "global_initial_weights": Fault(
        replaced("[task])", "[task])\n            self.layers[task].weight.data *= np.random.rand()"),
        "initial_weights",
        r"layers\.\w+\.weight.* depends on global random states",
        others=frozenset({"structure"}),
    ),
    "forgotten_structure": Fault(
        with_method(
            """
    minimum_epochs = 2

    def phases(self, run, strategy):
        return [Phase("narrow", 1, strategy, selectable=False), Widening("wide", run.budget.epochs - 1, strategy)]
"""
        )
        + '''

class Widening(Phase):
    """Puts wider layers into the network, which `structure` does not tell of."""

    def begin(self):
        network = self.strategy.network
        for task, layer in network.layers.items():
            network.layers[task] = nn.Conv2d(layer.in_channels, layer.out_channels, 3, padding=1)
            network.own(network.layers[task], [task])
''',
        "trained_network",
        r"the weights do not fit after `restore_structure`: .*size mismatch for layers\.",
        others=frozenset({"resume"}),
        trials=True,
    ),
    "deploys_less": Fault(
        with_method(
            """
    def deploy(self):
        whole = self
        class Deployed(nn.Module):
            def forward(self, image, tasks=None, rows=None):
                return whole(image, list(whole.tasks)[:1], rows)
        return Deployed()
"""
        ),
        "deployed_network",
        r"the predictions are of segmentation: expected segmentation, depth, normals",
        others=frozenset({"costs"}),
    ),
    "plan_of_some_tasks": Fault(
        replaced("list(self.tasks))", "list(self.tasks)[1:])"),
        "sharing_plan",
        r"the plan's columns are depth, normals, and the tasks are segmentation, depth, normals",
    ),
    "too_many_epochs": Fault(
        with_method(
            """
    def phases(self, run, strategy):
        return [Phase("first", run.budget.epochs, strategy, selectable=False), Phase("second", 1, strategy)]
"""
        ),
        "phases",
        r"under a budget of 1 epochs the phases have 1 \+ 1",
    ),
    "not_json": Fault(
        with_method(
            """
    def artefacts(self):
        return {"weight": torch.zeros(2)}
"""
        ),
        "plain_data",
        r"`artefacts\(\)` is no JSON",
    ),
    "state_lost_at_resume": Fault(
        with_method(
            """
    def phases(self, run, strategy):
        return [Warming("train", run.budget.epochs, strategy)]
"""
        )
        + '''

class Warming(Phase):
    """Scales the network's layers in every epoch by a number that no checkpoint holds."""

    factor = 1.0

    def end_epoch(self, epoch, losses):
        self.factor *= 0.9
        with torch.no_grad():
            for layer in self.strategy.network.layers.values():
                layer.weight.mul_(self.factor)
        return super().end_epoch(epoch, losses)
''',
        "resume",
        r"resumed after every epoch, the trial has another result: result\.\w+.* is .*, and was ",
        trials=True,
    ),
    "state_of_the_class": Fault(
        with_method(
            """
    made = []

    def phases(self, run, strategy):
        self.made.append(1)
        self.layers["depth"].weight.data *= len(self.made)
        return super().phases(run, strategy)
"""
        ),
        "repeatable",
        r"run again, the trial has another result",
        others=frozenset({"resume", "global_random_state"}),
        trials=True,
    ),
}

STRATEGIES = {
    "task_order": Fault(
        '''
class Faulty(Strategy):
    """The first task counts most, and the class says that order does not matter."""

    invariances: ClassVar[frozenset[str]] = frozenset({"task_order"})

    def step(self, batch):
        losses = self.losses(batch)
        self.descend({task: loss / (1 + number) for number, (task, loss) in enumerate(losses.items())})
        return losses
''',
        "task_order",
        r"with the tasks in reverse order the weights end \d+\.\d% of the way off",
    ),
    "one_task": Fault(
        '''
class Faulty(Strategy):
    """Halves every loss, and promises plain training of a single task."""

    def step(self, batch):
        losses = self.losses(batch)
        self.descend({task: loss / 2 for task, loss in losses.items()})
        return losses
''',
        "one_task",
        r"segmentation alone ends 50\.0% of the way off plain training",
    ),
    "loss_scale": Fault(
        '''
class Faulty(Strategy):
    """Plain training, which promises too much."""

    invariances: ClassVar[frozenset[str]] = frozenset({"one_task", "task_order", "loss_scale"})
''',
        "loss_scale",
        r"with one loss scaled by 4, \d+% of the weights step the other way",
    ),
    "nan_step": Fault(
        '''
class Faulty(Strategy):
    """Divides by the spread of the losses so far, which is 0 at first."""

    invariances: ClassVar[frozenset[str]] = frozenset()

    def setup(self):
        self.register_buffer("first", torch.zeros(()))

    def step(self, batch):
        losses = self.losses(batch)
        if losses:
            value = total(losses)
            spread = (self.first - self.first.clone()).abs()
            self.descend(value * (spread / spread))
        return losses
''',
        "moves_weights",
        r".* is not finite any more",
        others=frozenset(
            {"partly_labelled", "no_labels", "no_gradient", "state", "random_draws", "pieces", "nan_is_reported"}
        ),
    ),
    "returns_nothing": Fault(
        '''
class Faulty(Strategy):
    """Forgets to return the losses."""

    def step(self, batch):
        self.descend(self.losses(batch))
''',
        "returned_losses",
        r"`step` returned NoneType: return the losses",
        others=frozenset({"no_labels", "nan_is_reported", "pieces"}),
    ),
    "returns_weighted_losses": Fault(
        '''
class Faulty(Strategy):
    """Returns what it descended on instead of the losses."""

    def step(self, batch):
        losses = {task: 1.5 * loss for task, loss in self.losses(batch).items()}
        self.descend({task: loss / 1.5 for task, loss in losses.items()})
        return losses
''',
        "returned_losses",
        r"and the network's is .*: return the losses as they are",
    ),
    "hides_nan": Fault(
        '''
class Faulty(Strategy):
    """Turns what is not a number into zero."""

    def step(self, batch):
        losses = {task: torch.nan_to_num(loss) for task, loss in self.losses(batch).items()}
        self.descend(losses)
        return losses
''',
        "nan_is_reported",
        r"the loss of segmentation and depth and normals was NaN, and `step` hides it",
    ),
    "more_updates": Fault(
        '''
class Faulty(Strategy):
    """Steps twice, and says once."""

    invariances: ClassVar[frozenset[str]] = frozenset({"task_order"})

    def step(self, batch):
        losses = self.losses(batch)
        self.descend(losses)
        self.descend(self.losses(batch))
        return losses
''',
        "updates_per_step",
        r"one call of `step` made 2 optimizer steps, and `updates_per_step\(\)` says 1",
    ),
    "moves_absent_tasks": Fault(
        '''
class Faulty(Strategy):
    """Leaves gradients of zero in place, with which momentum moves the weights of absent tasks."""

    def step(self, batch):
        losses = self.losses(batch)
        self.optimizers["weights"].zero_grad(set_to_none=False)
        if losses:
            total(losses).backward()
            self.advance()
        return losses
''',
        "partly_labelled",
        r"heads\.depth\..*, owned by depth alone, moves in a batch without their labels",
    ),
    "one_vector_for_all_tasks": Fault(
        '''
class Faulty(Strategy):
    """Learns the weights of all tasks in one vector, which momentum moves as a whole."""

    invariances: ClassVar[frozenset[str]] = frozenset({"task_order"})

    def setup(self):
        self.s = self.learn(torch.zeros(len(self.tasks)))

    def step(self, batch):
        losses = self.losses(batch)
        s = dict(zip(self.tasks, self.s))
        self.descend({task: (torch.exp(-s[task]) * loss + s[task]) / 2 for task, loss in losses.items()})
        return losses
''',
        "absent_tasks",
        r"in a batch without labels of segmentation, momentum moves a part of s whose gradient is zero",
    ),
    "fails_without_labels": Fault(
        '''
class Faulty(Strategy):
    """Expects some loss in every batch."""

    def step(self, batch):
        losses = self.losses(batch)
        self.descend(total(losses))
        return losses
''',
        "no_labels",
        r"RuntimeError: .* \(fails_without_labels_fault\.py, line \d+\)",
    ),
    "forgets": Fault(
        '''
class Faulty(Strategy):
    """Keeps what it remembers in a list, which no checkpoint holds."""

    invariances: ClassVar[frozenset[str]] = frozenset({"task_order"})

    def setup(self):
        self.history = []

    def step(self, batch):
        losses = self.losses(batch)
        factor = 1 / (1 + len(self.history))
        self.descend({task: factor * loss for task, loss in losses.items()})
        return losses

    def end_epoch(self, losses):
        self.history.append(losses)
''',
        "state",
        r"a resumed strategy ends .* away from one that never stopped: keep what it remembers in buffers",
        others=frozenset({"resume"}),
        trials=True,
    ),
    "global_random_numbers": Fault(
        '''
class Faulty(Strategy):
    """Draws weights from NumPy's global stream."""

    invariances: ClassVar[frozenset[str]] = frozenset({"task_order"})

    def step(self, batch):
        losses = self.losses(batch)
        factor = float(np.random.rand())
        self.descend({task: factor * loss for task, loss in losses.items()})
        return losses
''',
        "random_draws",
        r"the global random states decide where the weights end: draw with `self.stream\(name\)`",
        others=frozenset({"state", "pieces", "task_order", "resume", "global_random_state"}),
        trials=True,
    ),
    "short_weights": Fault(
        '''
class Faulty(JacobianStrategy):
    """One weight instead of one per task."""

    def weights(self, gramian, losses):
        return torch.ones(1, dtype=torch.float64)
''',
        "jacobian_weights",
        r"for 2 rows `weights` returned \[1\]: expected a tensor of shape \[2\]",
        others=frozenset(
            {
                "moves_weights",
                "returned_losses",
                "updates_per_step",
                "partly_labelled",
                "no_labels",
                "no_gradient",
                "nan_is_reported",
                "task_order",
                "state",
                "random_draws",
                "pieces",
                "plain_data",
            }
        ),
    ),
    "ignores_pieces": Fault(
        '''
class Faulty(Strategy):
    """Asks the network itself, past the protocol's precision and pieces."""

    def step(self, batch):
        losses = self.network.losses(batch)
        self.descend(losses)
        return losses
''',
        "pieces",
        r"the whole batch passes at once: get losses from `self.losses\(batch\)`",
    ),
    "unknown_invariance": Fault(
        '''
class Faulty(Strategy):
    """Promises what nobody knows."""

    invariances: ClassVar[frozenset[str]] = frozenset({"one_task", "task_ordering"})
''',
        "invariances",
        r"`invariances` holds 'task_ordering': known are one_task, task_order, loss_scale",
    ),
    "no_description": Fault(
        """
class Faulty(Strategy):
    pass
""",
        "described",
        r"Faulty has no docstring",
    ),
    "default_out_of_bounds": Fault(
        '''
class Faulty(Strategy):
    """Has a default that nobody could give."""

    rate: float = Hyper(2.0, le=1, help="a rate")
''',
        "hyper_parameters",
        r"the default of rate does not fit its declaration: .* rate <= 1",
    ),
    "search_out_of_bounds": Fault(
        '''
class Faulty(Strategy):
    """Is searched where it must not be."""

    rate: float = Hyper(0.5, search=Uniform(0.0, 3.0), ge=0, le=1, help="a rate")
''',
        "hyper_parameters",
        r"the search range of rate does not fit its declaration",
    ),
    "no_help": Fault(
        '''
class Faulty(Strategy):
    """Explains nothing."""

    rate: float = Hyper(0.5, help="")
''',
        "hyper_parameters",
        r"rate needs `help=` of one line",
    ),
}

FAULTS = {**ARCHITECTURES, **STRATEGIES}
