"""What plugins are written against: a plugin needs this module and `mtlbench.tasks`, nothing else of ours."""

from mtlbench.contract.architecture import Architecture
from mtlbench.contract.batch import Batch
from mtlbench.contract.dataset import Augmentation, BadSample, Card, Dataset, Download, Key, Sample
from mtlbench.contract.hyper import Choice, Hyper, LogUniform, Simplex, Uniform
from mtlbench.contract.jacobian import JacobianStrategy
from mtlbench.contract.network import Maps, MultiTaskNetwork, NetworkConfig, Rows
from mtlbench.contract.optim import OptimizerSpec, restore_by_name, set_lr, state_by_name
from mtlbench.contract.phase import Pass, Phase
from mtlbench.contract.run import Budget, Run, TaskLosses, derive_seed, detached, total
from mtlbench.contract.strategy import Strategy
from mtlbench.errors import UserError, did_you_mean
from mtlbench.networks.backbone import Backbone
from mtlbench.networks.heads import resize
from mtlbench.networks.placement import on_device
from mtlbench.networks.plan import Exchange, SharingPlan
from mtlbench.networks.residual import BasicBlock, Bottleneck
from mtlbench.networks.sharing import SharingGraph, Unit
from mtlbench.publication import Publication

__all__ = [
    "Architecture",
    "Augmentation",
    "Backbone",
    "BadSample",
    "BasicBlock",
    "Batch",
    "Bottleneck",
    "Budget",
    "Card",
    "Choice",
    "Dataset",
    "Download",
    "Exchange",
    "Hyper",
    "JacobianStrategy",
    "Key",
    "LogUniform",
    "Maps",
    "MultiTaskNetwork",
    "NetworkConfig",
    "OptimizerSpec",
    "Pass",
    "Phase",
    "Publication",
    "Rows",
    "Run",
    "Sample",
    "SharingGraph",
    "SharingPlan",
    "Simplex",
    "Strategy",
    "TaskLosses",
    "Uniform",
    "Unit",
    "UserError",
    "derive_seed",
    "detached",
    "did_you_mean",
    "on_device",
    "resize",
    "restore_by_name",
    "set_lr",
    "state_by_name",
    "total",
]
