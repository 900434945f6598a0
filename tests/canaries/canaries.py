"""Small trials whose results are committed: what they measure may change only together with `PROTOCOL_VERSION`.

    python tests/canaries/canaries.py          # compare with the committed results
    python tests/canaries/canaries.py --write  # commit new ones, after PROTOCOL_VERSION was raised

The hash of a result is compared where bits can be equal: the same torch minor version and the same CPU instruction set.
Elsewhere the values that do not jump (losses, costs, plan) are compared at a relative tolerance of 1e-5.
"""

from __future__ import annotations

import hashlib
import json
import math
import sys
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import torch

from mtlbench.planning.protocol import PROTOCOL_VERSION
from mtlbench.records import canonical
from mtlbench.running.run_trial import run_trial
from tests.tiny import STREETS, trials

FILE = Path(__file__).with_name("results.json")

TOLERANCE = 1e-5
"""Relative, for values that cannot be compared by their bits."""

DATASETS: dict[str, dict[str, Any]] = {
    "streets": {**STREETS, "train": 16, "val": 4, "test": 4, "shifted": 2},
    "planted": {"train": 32, "val": 16, "test": 16, "groups": [2, 1], "noisy": 1},
}

METHODS: dict[str, dict[str, Any]] = {
    "single_task": {"clip": 1.0},
    "hard_sharing": {"robustness": "quick", "pgd": [1.0], "head_dropout": 0.5},
    "cross_stitch": {"micro_batches": 2},
    "nddr": {},
    "mtan": {},
    "pad_net": {},
    "mti_net": {},
    "adashare": {"epochs": 5},
    "mtsl": {"epochs": 7},
    "branched": {"epochs": 4},
    "alternating": {},
    "uncertainty": {"optimizer": "sgd", "lr": 0.05, "momentum": 0.9},
    "pcgrad": {},
    "cross_stitch+gradnorm": {"schedule": "cosine"},
}
"""Method → the settings in which it differs."""

CASES = [f"{method} on {dataset}" for dataset in DATASETS for method in METHODS]


def run(case: str, folder: Path) -> dict[str, Any]:
    """The `result` of a canary's record, as JSON values."""
    torch.set_num_threads(1)
    method, _, dataset = case.partition(" on ")
    # Dropout's draws differ between releases of torch: one method has it, the others can be compared elsewhere, too.
    settings = {"epochs": 2, "bn_images": 8, "head_dropout": 0.0, **METHODS[method]}
    if dataset == "planted" and method == "hard_sharing":
        settings |= {"robustness": "off"}
    diagnose = ["gradients"] if method == "pcgrad" else []
    (spec,) = trials(folder, [method], dataset, DATASETS[dataset], settings=settings, diagnose=diagnose)
    path = run_trial(spec, folder / "runs", folder / "results")
    result: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))["result"]
    return result


def digest(result: Mapping[str, Any]) -> str:
    """The hash of a whole result: equal only where every bit is."""
    return hashlib.sha256(canonical(result).encode()).hexdigest()[:16]


def values(result: Mapping[str, Any]) -> dict[str, Any]:
    """What must agree on every machine: losses, learning rates, costs and the plan, without anything that counts pixels."""
    return {
        "train_loss": [point["train_loss"] for point in result["curve"]],
        "lr": [point["lr"] for point in result["curve"]],
        "phases": [point["phase"] for point in result["curve"]],
        "cost": result["cost"],
        "plan": result["plan"],
    }


def machine() -> str:
    """What decides bits: the torch minor version and the CPU's instruction set."""
    return f"torch {'.'.join(torch.__version__.split('.')[:2])}, {torch.backends.cpu.get_cpu_capability()}"


def differences(expected: Any, actual: Any, place: str = "") -> Iterator[str]:
    """Where two JSON values differ by more than the tolerance: one line each."""
    if isinstance(expected, dict) and isinstance(actual, dict) and expected.keys() == actual.keys():
        for key in expected:
            yield from differences(expected[key], actual[key], f"{place}.{key}" if place else key)
    elif isinstance(expected, list) and isinstance(actual, list) and len(expected) == len(actual):
        for number, (left, right) in enumerate(zip(expected, actual, strict=True)):
            yield from differences(left, right, f"{place}[{number}]")
    elif isinstance(expected, float) and isinstance(actual, int | float):
        if not math.isclose(expected, actual, rel_tol=TOLERANCE, abs_tol=1e-9):
            yield f"{place} is {actual!r}, and {expected!r} is committed"
    elif expected != actual:
        yield f"{place} is {actual!r}, and {expected!r} is committed"


def problem(case: str, result: Mapping[str, Any], committed: Mapping[str, Any], version: int = PROTOCOL_VERSION) -> str:
    """One sentence on how a result differs from the committed one; empty when it does not.

    Args:
        committed: the content of `results.json`.
        version: the protocol version of the code that gave the result.
    """
    if committed["protocol_version"] != version:
        return (
            f"PROTOCOL_VERSION is {version} and the canaries are of version {committed['protocol_version']}: write them "
            "anew with `python tests/canaries/canaries.py --write`."
        )
    known = committed["cases"].get(case)
    if known is None:
        return f"The canary {case!r} is not committed: run `python tests/canaries/canaries.py --write`."
    changed = list(differences(known["values"], values(result)))
    expected = known["hashes"].get(machine())
    if not changed and (expected is None or expected == digest(result)):
        return ""
    where = changed[0] if changed else f"its hash on this machine ({machine()})"
    return (
        f"The result of {case!r} changed ({where}) and PROTOCOL_VERSION is still {version}: restore the result, or raise "
        "PROTOCOL_VERSION and write the canaries anew."
    )


def write() -> int:
    """Commit the results of this machine; refuses when they changed under the same protocol version."""
    before = json.loads(FILE.read_text(encoding="utf-8")) if FILE.is_file() else {}
    same_version = before.get("protocol_version") == PROTOCOL_VERSION
    cases: dict[str, Any] = {}
    for case in CASES:
        with tempfile.TemporaryDirectory() as folder:
            result = run(case, Path(folder))
        known = before.get("cases", {}).get(case) if same_version else None
        if known is not None and (line := problem(case, result, before)):
            print(line, file=sys.stderr)
            return 1
        hashes = {**(known["hashes"] if known else {}), machine(): digest(result)}
        cases[case] = {"hashes": hashes, "values": values(result)}
        print(f"{case}: {hashes[machine()]}")
    lines = [f'"{case}": {json.dumps(content, sort_keys=True)}' for case, content in cases.items()]
    head = f'{{"protocol_version": {PROTOCOL_VERSION}, "cases": {{'
    FILE.write_text(head + "\n" + ",\n".join(lines) + "\n}}\n", encoding="utf-8")
    return 0


def compare() -> int:
    """Print every canary that differs; returns the exit code."""
    committed = json.loads(FILE.read_text(encoding="utf-8"))
    lines = []
    for case in CASES:
        with tempfile.TemporaryDirectory() as folder:
            lines.append(problem(case, run(case, Path(folder)), committed))
    print("\n".join(line for line in lines if line) or f"{len(CASES)} canaries are unchanged.")
    return int(any(lines))


if __name__ == "__main__":
    sys.exit(write() if "--write" in sys.argv[1:] else compare())
