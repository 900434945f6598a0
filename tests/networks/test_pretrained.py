"""Pre-trained weights enter the protocol by their content."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from mtlbench.errors import UserError
from mtlbench.networks.backbone import BackboneSpec


def test_the_same_weights_elsewhere_are_the_same_protocol_and_other_weights_another(tmp_path: Path) -> None:
    names = ("here.pt", "there.pt", "other.pt")
    for name, value in zip(names, (1.0, 1.0, 2.0), strict=True):
        torch.save({"conv1.weight": torch.full((1,), value)}, tmp_path / name)
    (tmp_path / "there.pt").write_bytes((tmp_path / "here.pt").read_bytes())
    described = [BackboneSpec(pretrained=str(tmp_path / name)).describe()["pretrained"] for name in names]
    assert described[0] == described[1] != described[2]
    assert described[0].startswith("sha256:")
    assert BackboneSpec(pretrained="imagenet").describe()["pretrained"] == "imagenet"
    assert BackboneSpec().describe()["pretrained"] == ""


def test_missing_weights_are_refused_before_anything_runs(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"pretrained = .* cannot be read"):
        BackboneSpec(pretrained=str(tmp_path / "nothing.pt")).describe()
