"""Published numbers: transcribed with their sources, recomputed, and never ranked with measured rows."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest

from mtlbench.errors import UserError
from mtlbench.leaderboard import reported, site
from mtlbench.leaderboard.board import boards
from mtlbench.leaderboard.draw import draw_all
from tests.leaderboard import fabricate

FOLDER = Path(__file__).parents[2] / "leaderboards" / "reported"


@pytest.fixture(scope="module")
def findings() -> list[str]:
    return reported.lint(FOLDER)


def test_every_row_names_its_source_and_that_it_is_unverified() -> None:
    rows = reported.read(FOLDER)
    assert len(rows) > 250
    for row in rows:
        assert row.fields["source"] and row.fields["protocol"], row.where
        assert row.fields["status"].startswith("unverified against the PDF"), row.where


def test_the_known_defects_are_found(findings: list[str]) -> None:
    imtl = [line for line in findings if "IMTL-G" in line and "nyuv2" in line and "printed Δ -0.76" in line]
    assert len(imtl) == 2 and all("-0.60" in line for line in imtl), "in Nash-MTL's table and in FAMO's copy"
    assert any("famo.csv" in line and "cityscapes" in line and "equal to the row of LS" in line for line in findings)
    assert any("differs from famo.csv" in line and "LS" in line for line in findings)
    assert any("survey.csv" in line and "MTI-Net" in line and "-6.72" in line for line in findings)
    assert any("0.84" in line and "impossible" in line and "celeba" in line for line in findings)


def test_rounding_alone_is_no_finding(findings: list[str]) -> None:
    assert not any("PCGrad" in line and "cityscapes" in line and "recon" in line for line in findings), "printed as 0.02"
    assert not any("auto_lambda" in line and "printed Δ" in line for line in findings)


def test_recomputed_deltas_are_the_known_ones() -> None:
    rows = {(row.file, row.fields["dataset"], row.method): row for row in reported.read(FOLDER) if row.deltas}
    famo = rows["famo.csv", "nyuv2", "FAMO"].deltas
    assert (famo["metric"], famo["task"], famo["primary"]) == pytest.approx((4.10, 6.79, 6.76), abs=0.005)
    uw = rows["nash_mtl.csv", "cityscapes", "UW"].deltas
    assert (uw["metric"], uw["primary"]) == pytest.approx((-5.88, -7.34), abs=0.005)
    assert rows["imgrad.csv", "nyuv2", "IMGrad"].deltas["metric"] == pytest.approx(4.44, abs=0.005), (
        "reference of another file"
    )


def test_ranks_flip_with_the_definition() -> None:
    rows = [row for row in reported.read(FOLDER) if row.file == "famo.csv" and row.fields["dataset"] == "nyuv2"]
    places = {row.method: place for row in rows if (place := reported.ranks(rows).get(id(row)))}
    assert places["MGDA"] == {"metric": 5, "task": 11, "primary": 12}
    assert places["FAMO"] == {"metric": 1, "task": 2, "primary": 2}
    assert places["Nash-MTL"] == {"metric": 2, "task": 1, "primary": 1}


def test_shown_beside_the_board_and_not_in_it() -> None:
    (board,) = boards(fabricate.sweep(datasets=("nyuv2",)))
    rows = [row for row in reported.read(FOLDER) if row.fields["dataset"] == "nyuv2"]
    page = site.page(board, {}, {}, rows)
    ranked, _, beside = page.partition('id="reported"')
    assert "Nash-MTL" in beside and "Nash-MTL" not in ranked and "unverified against the PDF" in beside


def write(path: Path, **changes: str) -> None:
    names = [*reported.REQUIRED, "depth/err/down"]
    fields = {**dict.fromkeys(names, ""), "method": "a", "role": "method", "depth/err/down": "1.0", **changes}
    with (path / "x.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, fields)
        writer.writeheader()
        writer.writerow(fields)


def test_a_word_where_a_number_belongs_is_refused(tmp_path: Path) -> None:
    write(tmp_path, **{"depth/err/down": "good"})
    with pytest.raises(UserError, match=r"x.csv:2: depth/err/down is 'good'"):
        reported.read(tmp_path)


def test_a_missing_column_is_refused(tmp_path: Path) -> None:
    (tmp_path / "x.csv").write_text("table,method\n")
    with pytest.raises(UserError, match="column 'dataset' is missing"):
        reported.read(tmp_path)


def test_every_dataset_is_a_plugins_or_shown_on_the_first_page() -> None:
    folder = FOLDER.parents[1] / "datasets"
    packages = {path.parent.name for path in folder.glob("[!_]*/__init__.py")}
    plugins = packages | {path.stem for path in folder.glob("[!_]*.py")}
    named = {row.fields["dataset"] for row in reported.read(FOLDER)}
    assert named <= plugins | set(reported.OTHER_DATA)
    assert set(reported.OTHER_DATA) <= named - plugins
    assert "pascal_context" in named


def test_other_data_is_shown_on_the_first_page(tmp_path: Path) -> None:
    results = fabricate.save(fabricate.sweep(["mtan"]), tmp_path / "results")
    draw_all(results, tmp_path / "out", published=FOLDER)
    page = (tmp_path / "out" / "index.html").read_text()
    _, _, beside = page.partition("Reported on other data")
    assert "cityscapes-3d" in beside and "PAP-Net" in beside and "pascal_context" not in beside
    draw_all(results, tmp_path / "plain")
    assert "Reported on other data" not in (tmp_path / "plain" / "index.html").read_text()


def test_each_source_of_a_table_is_named() -> None:
    (board,) = boards(fabricate.sweep(datasets=("pascal_context",)))
    rows = [row for row in reported.read(FOLDER) if row.fields["dataset"] == "pascal_context"]
    page = site.page(board, {}, {}, rows)
    assert "InvPT/README.md" in page and "TaskPrompter/README.md" in page
    invpt, _, prompter = page.partition("<summary>TaskPrompter/README.md")
    assert "TaskPrompter ViT-L" in prompter and "TaskPrompter ViT-L" not in invpt


def test_the_surveys_deltas_are_those_of_its_rows() -> None:
    rows = {row.method: row for row in reported.read(FOLDER) if row.file == "survey.csv" and row.deltas}
    assert rows["PAP-Net"].deltas["primary"] == pytest.approx(12.10, abs=0.005)
    assert rows["Cross-Stitch"].deltas["primary"] == pytest.approx(0.67, abs=0.005), "of PASCAL-Context; printed as 0.60"
    assert not any(row.deltas for row in reported.read(FOLDER) if row.file == "survey.csv" and not row.cells)
