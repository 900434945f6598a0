"""Files about searches for hyper-parameters: every trial, best-of-k curves, what tuning gained, what mattered."""

from __future__ import annotations

import math
from collections.abc import Sequence

from mtlbench.leaderboard import number_format, protocols
from mtlbench.leaderboard.board import Board
from mtlbench.leaderboard.frames import csv_text, frame
from mtlbench.leaderboard.markdown import escape, grid
from mtlbench.leaderboard.number_format import MISSING, PERCENT, SKILL
from mtlbench.leaderboard.tuning import TunedTable, searched
from mtlbench.statistics.importance import FANOVA

EXPLAINED = (
    "Every method had the same number of trials. The configuration with the highest mean skill on val was trained again on "
    "seeds that the search did not use; only these winners are ranked. Rows at their defaults stand in tables of their own. "
    "Every trial: [tuning_trials.csv](tuning_trials.csv)."
)
GAP = (
    "Mean skill on test, default and tuned, over the seeds; the gain is paired by seed, ± the half-width of its 95 % t "
    "interval. Δ is measured against single-task networks that were treated alike: at their defaults, or tuned as hard."
)
CURVES = (
    "Expected mean skill of what a smaller budget would have found, over all sets of k of the trials (exactly, by order "
    "statistics), ± its standard deviation. Chosen on val. Each trial is one seed, so the winner's val skill is too high: "
    "the skill on test is what a budget buys. All of it: [best_of_k.csv](best_of_k.csv)."
)


GAP_KEYS = ("mean_skill", "delta/task", "rank/task")
"""What is compared, default and tuned."""


def texts(board: Board, tuned: Sequence[TunedTable]) -> dict[str, str]:
    """File name → content; empty where there was no search."""
    if not tuned and not board.trials:
        return {}
    return {
        "tuning.md": markdown(board.dataset, tuned),
        "tuning_trials.csv": trials_csv(board),
        "best_of_k.csv": curves_csv(tuned),
        "tuning_gap.csv": gap_csv(tuned),
        "tuning_importance.csv": importance_csv(tuned),
    }


def trials_csv(board: Board) -> str:
    """One line per trial of every search: its configuration, and its scores on val and test."""
    lines: list[dict[str, object]] = []
    names: dict[str, None] = {}
    for trial in board.trials:
        tuning = trial.tuning
        assert tuning is not None
        values = searched(trial)
        names.update(dict.fromkeys(values))
        lines.append(
            {
                "protocol_id": trial.protocol_id,
                "study": tuning.study,
                "row": trial.row,
                "number": tuning.number,
                "record": trial.id,
                "val": trial.result.val.mean_skill,
                "test": trial.result.test.mean_skill,
                "stopped_after": tuning.stopped_after,
                **{f"searched/{name}": value for name, value in values.items()},
            }
        )
    lines.sort(key=lambda line: (str(line["protocol_id"]), str(line["row"]), str(line["study"]), int(str(line["number"]))))
    header = ["protocol_id", "study", "row", "number", "record", "val", "test", "stopped_after"]
    return csv_text(frame(lines, [*header, *(f"searched/{name}" for name in names)]))


def curves_csv(tuned: Sequence[TunedTable]) -> str:
    """One line per row and k."""
    lines = [
        (one.table.protocol_id, method.tuning.study, method.row.name, p.k, p.val, p.val_spread, p.test, p.test_spread)
        for one in tuned
        for method in one.methods
        for p in method.curve
    ]
    header = ("protocol_id", "study", "row", "k", "val", "val_spread", "test", "test_spread")
    return csv_text(frame(lines, header))


def gap_csv(tuned: Sequence[TunedTable]) -> str:
    """One line per row: skill, Δ and rank, default and tuned."""
    lines = []
    for one in tuned:
        for method in one.methods:
            before = method.untuned[1] if method.untuned else None
            line: dict[str, object] = {"protocol_id": one.table.protocol_id, "row": method.row.name}
            for kind, row in (("default", before), ("tuned", method.row)):
                if row is not None:
                    cells = {
                        key: row.cells[key].mean for key in ("mean_skill", "delta/task", "rank/task") if key in row.cells
                    }
                    line |= {f"{kind}/{key}": value for key, value in cells.items()}
            if method.gain is not None:
                line |= {"gain": method.gain.mean, "gain/ci95": method.gain.half}
            lines.append(line)
    keys = [f"{kind}/{key}" for key in GAP_KEYS for kind in ("default", "tuned")]
    return csv_text(frame(lines, ["protocol_id", "row", *keys[:2], "gain", "gain/ci95", *keys[2:]]))


def importance_csv(tuned: Sequence[TunedTable]) -> str:
    """One line per row and hyper-parameter."""
    lines = []
    for one in tuned:
        for method in one.methods:
            evaluator, shares = method.importances
            lines += [(one.table.protocol_id, method.row.name, name, share, evaluator) for name, share in shares.items()]
    return csv_text(frame(lines, ("protocol_id", "row", "searched", "importance", "evaluator")))


def markdown(dataset: str, tuned: Sequence[TunedTable]) -> str:
    """The page of one dataset."""
    parts = [f"# {escape(dataset)}: tuning", EXPLAINED]
    for one in tuned:
        parts += [f"## Protocol `{one.table.protocol_id}`: {one.budget} trials per method", _card(one)]
        parts += ["### What tuning gained", GAP, _gap(one)]
        parts += ["### Smaller budgets", CURVES, _curves(one)]
        parts += ["### What mattered", _importance_text(one), _importance(one)]
        parts += ["### Winners", _winners(one)]
    return "\n\n".join(parts) + "\n"


def _card(one: TunedTable) -> str:
    card = one.table.protocol.get("tuning")
    fields = sorted(protocols.flatten(card).items()) if isinstance(card, dict) else []
    return grid(
        ["tuning card", "value"], [[escape(name), escape(protocols.as_text(value))] for name, value in fields], left=2
    )


def _gap(one: TunedTable) -> str:
    lines = []
    for method in one.methods:
        before = method.untuned
        texts = []
        for key, form in (("mean_skill", SKILL), ("delta/task", PERCENT)):
            texts += [
                form.cell(row.cells.get(key)) if row else MISSING for row in (before[1] if before else None, method.row)
            ]
        gain = MISSING if method.gain is None else SKILL.interval(method.gain.mean, method.gain.half)
        ranks = [
            number_format.rank_text(table, row) if row is not None else MISSING
            for table, row in (before or (one.table, None), (one.table, method.row))
        ]
        lines.append([escape(method.row.name), texts[0], texts[1], gain, texts[2], texts[3], *ranks])
    head = ["method", "skill, default", "tuned", "gain", "Δ (%), default", "tuned", "rank, default", "tuned"]
    return grid(head, lines, left=1)


def _curves(one: TunedTable) -> str:
    sizes = [k for k in (1, 2, 4, 8, 16, 32, 64) if k < one.budget] + [one.budget]
    lines = []
    for method in one.methods:
        curve = {point.k: point for point in method.curve}
        cells = [SKILL.interval(curve[k].test, curve[k].test_spread) if k in curve else MISSING for k in sizes]
        lines.append([escape(method.row.name), *cells])
    return grid(["method, skill on test", *(f"k = {k}" for k in sizes)], lines, left=1)


def _importance_text(one: TunedTable) -> str:
    evaluator = one.methods[0].importances[0]
    meaning = "shares of the variation of val skill" if evaluator == FANOVA else "absolute rank correlations with val skill"
    return f"By {evaluator}: {meaning}. Few trials order what was searched roughly, and say no more."


def _importance(one: TunedTable) -> str:
    lines = []
    for method in one.methods:
        shares = method.importances[1]
        lines.append([escape(method.row.name), escape(", ".join(f"{name} {share:.2f}" for name, share in shares.items()))])
    return grid(["method", "importance"], lines, left=2)


def _winners(one: TunedTable) -> str:
    lines = []
    for method in one.methods:
        tried = f"{len(method.trials)} of {one.budget}"
        stopped = sum(trial.tuning is not None and trial.tuning.stopped_after is not None for trial in method.trials)
        values = protocols.as_text(method.tuning.values)
        best = max((trial.result.val.mean_skill for trial in method.trials), default=math.nan)
        early = f", {stopped} stopped early" if stopped else ""
        lines.append([escape(method.row.name), str(method.tuning.number), SKILL.number(best), tried + early, escape(values)])
    return grid(["method", "trial", "its val skill", "trials with a record", "configuration"], lines, left=1)
