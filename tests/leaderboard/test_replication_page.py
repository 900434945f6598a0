"""The page of replications: published rows beside records, with gap, verdict and cause."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
import yaml

from mtlbench.cli.main import main
from mtlbench.errors import UserError
from mtlbench.leaderboard.replications import Comparison, Metric, Row, page, read_ledger
from mtlbench.records import Record
from mtlbench.statistics.intervals import Interval, t_interval
from tests.leaderboard import fabricate

ROOT = Path(__file__).parents[2]
HEADER = (
    "table,dataset,method,role,protocol,seeds,sem/mIoU/up,"
    "mean_rank,delta,delta_definition,parameters_mb,defects,source,status"
)
LEDGER: dict[str, Any] = {
    "title": "A paper",
    "source": "somewhere",
    "claim": "It is so.",
    "tables": [{"file": "paper.csv", "table": "T1", "dataset": "streets"}],
    "metrics": [{"published": "sem/mIoU", "ours": "semantic/mIoU", "scale": 100}],
    "rows": [{"published": "Sum", "ours": "hard_sharing"}, {"published": "MTAN", "ours": "mtan", "cause": "another trunk"}],
    "deviations": ["The seeds are ours."],
    "cost": {"gpu_hours": 2, "basis": "a guess"},
}


def write(folder: Path, ledger: dict[str, Any] | None = None, published: float = 50.0) -> tuple[Path, Path, Path]:
    """(presets, published, results) of one preset; the records still to be saved."""
    presets, reported = folder / "presets", folder / "reported"
    (presets / "ledger").mkdir(parents=True)
    reported.mkdir()
    epochs = fabricate.protocol("streets")["budget"]["epochs"]
    preset = {"name": "p", "methods": ["hard_sharing", "mtan"], "datasets": ["streets"], "settings": {"epochs": epochs}}
    (presets / "paper.yaml").write_text(yaml.safe_dump(preset))
    (presets / "ledger" / "paper.yaml").write_text(yaml.safe_dump(ledger or LEDGER))
    rows = [f"T1,streets,{name},method,p,1,{published},,,,,,somewhere,unverified" for name in ("Sum", "MTAN")]
    (reported / "paper.csv").write_text("\n".join([HEADER, *rows]) + "\n")
    return presets, reported, folder / "results"


def mean_of(records: list[Record]) -> float:
    return sum(100 * record.result.test.metrics["semantic"]["mIoU"] for record in records) / len(records)


def row_of(text: str, published: str) -> list[str]:
    (line,) = (line for line in text.splitlines() if f"| {published} |" in line)
    return [cell.strip() for cell in line.strip("|").split("|")]


def test_without_records_rows_are_labelled_not_run(tmp_path: Path) -> None:
    text = page(*write(tmp_path))
    assert row_of(text, "Sum")[4:] == ["50.0", "", "", "*not run*", ""]
    assert row_of(text, "MTAN")[-1] == "another trunk"
    assert "2 GPU hours, an estimate: a guess" in text and "- The seeds are ours." in text


def test_gap_and_verdict_are_those_of_the_records(tmp_path: Path) -> None:
    records = [fabricate.record("hard_sharing", seed=seed) for seed in range(3)]
    values = [100 * record.result.test.metrics["semantic"]["mIoU"] for record in records]
    ours = t_interval(values)
    presets, reported, results = write(tmp_path, published=round(mean_of(records), 1))
    fabricate.save(records, results / "paper")
    cells = row_of(page(presets, reported, results), "Sum")
    assert cells[5] == f"{ours.mean:.1f} ± {ours.half:.1f} (3)" and cells[7] == "within its noise"
    assert float(cells[6]) == pytest.approx(0, abs=0.1)
    (reported / "paper.csv").write_text((reported / "paper.csv").read_text().replace(cells[4], "99.0"))
    cells = row_of(page(presets, reported, results), "Sum")
    assert cells[7:] == ["outside its noise", "not found"] and float(cells[6]) == pytest.approx(ours.mean - 99, abs=0.06)
    assert row_of(page(presets, reported, results), "MTAN")[7] == "*not run*"


def test_records_of_other_settings_are_not_compared(tmp_path: Path) -> None:
    presets, reported, results = write(tmp_path)
    card = fabricate.protocol("streets")
    card["budget"]["epochs"] += 1
    fabricate.save([fabricate.record("hard_sharing", seed=seed, card=card) for seed in range(3)], results / "paper")
    cells = row_of(page(presets, reported, results), "Sum")
    assert cells[7] == "not comparable" and "instead of" in cells[8]


def test_one_seed_has_no_interval() -> None:
    row, metric = Row(published="a", ours="b"), Metric(published="t/m", ours="t/m")
    assert Comparison("d", row, metric, "1.0", Interval(1.2, math.nan, 1)).verdict == "no interval from one seed"
    # Half of the last printed digit belongs to the published number.
    assert Comparison("d", row, metric, "1.0", Interval(1.2, 0.16, 3)).verdict == "within its noise"
    assert Comparison("d", row, metric, "1.00", Interval(1.2, 0.16, 3)).verdict == "outside its noise"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"rows": [{"published": "Sun", "ours": "hard_sharing"}]}, "paper.csv has no row 'Sun'"),
        ({"deviations": []}, "deviations: List should have at least 1 item"),
        ({"costs": 1}, "costs: Extra inputs"),
    ],
)
def test_wrong_entries_are_named(tmp_path: Path, change: dict[str, Any], message: str) -> None:
    places = write(tmp_path, {**LEDGER, **change})
    with pytest.raises(UserError, match=message):
        page(*places)


def test_a_preset_without_an_entry_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="cannot be read"):
        read_ledger(tmp_path / "none.yaml")


def test_the_committed_page_is_what_its_records_give() -> None:
    text = page(ROOT / "experiments" / "replications", ROOT / "leaderboards" / "reported", ROOT / "replications")
    assert (ROOT / "docs" / "replications.md").read_text(encoding="utf-8") == text


def test_the_command_writes_and_checks_the_page(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    presets, reported, results = write(tmp_path)
    words = ["replications", "--presets", str(presets), "--reported", str(reported), "--results", str(results)]
    words += ["--out", str(tmp_path / "page.md")]
    assert main([*words, "--check"]) == 1 and main(words) == 0 and main([*words, "--check"]) == 0
    (tmp_path / "page.md").write_text("old")
    assert main([*words, "--check"]) == 1 and "run `mtlbench replications`" in capsys.readouterr().out
    assert main(["replications", "--presets", str(tmp_path / "none")]) == 2
