"""All outputs show the same numbers, are the same on every run, and escape all text from records."""

from __future__ import annotations

import csv
import html
import io
import re
from pathlib import Path

import pytest
from rich.console import Console

from mtlbench.errors import UserError
from mtlbench.leaderboard import board_files, latex, markdown, site
from mtlbench.leaderboard.board import boards
from mtlbench.leaderboard.draw import draw, draw_all
from mtlbench.leaderboard.frames import csv_text, rows_frame, seeds_frame
from mtlbench.leaderboard.loading import load
from mtlbench.leaderboard.terminal import summary, terminal
from tests.leaderboard import fabricate

NASTY = "<script>alert(1)</script>"


@pytest.fixture
def without_pictures(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(board_files, "FIGURES", ())


def files_of(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


SCALES = {"k": 1e3, "M": 1e6, "G": 1e9, "T": 1e12, "P": 1e15, "kB": 1e3, "MB": 1e6, "GB": 1e9, "min": 60, "h": 3600}


def lines_of(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(text)))


def recomputed(value: str, half: str, title: str, shown: str) -> str:
    """The few lines by which anybody can check a printed cell against the CSV."""
    unit = re.search(r"\(([^)]*)\)", title)
    scale = SCALES.get(unit[1], 1) if unit else 1
    decimals = len(shown.split(" ")[0].partition(".")[2])
    expected = f"{float(value) / scale:.{decimals}f}"
    if half and float(half):
        expected += f" ± {float(half) / scale:.{decimals}f}"
    return expected


def test_numbers_in_the_csv_read_back_as_the_same() -> None:
    (only,) = boards(fabricate.sweep())
    rows = {row.key: row for table in only.tables for row in table.rows}
    lines = lines_of(csv_text(rows_frame(only)))
    assert len(lines) == len(rows)
    for line in lines:
        for key, cell in rows[line["key"]].cells.items():
            assert float(line[key]) == cell.mean, key
            if not key.startswith("rank/"):
                assert (float(line[f"{key}/ci95"] or "nan"), line[f"{key}/mark"]) == (
                    pytest.approx(cell.half, abs=0, nan_ok=True),
                    cell.mark,
                )
            if key.startswith("delta/"):
                assert float(line[f"{key}/ci95_own"]) == cell.own
    whole = {"parameters", "flops", "updates", "rank/task"}
    assert all("." not in line[key] for line in lines for key in whole), "whole numbers have no point"
    assert "delta/task/ci95_own" in lines[0] and "flops/ci95_own" not in lines[0]


def test_every_number_of_the_markdown_is_that_of_the_csv() -> None:
    (only,) = boards(fabricate.sweep())
    lines = {line["row"]: line for line in lines_of(csv_text(rows_frame(only)))}
    titles = {"Δ task": "delta/task", "Δ metric": "delta/metric", "Δ primary": "delta/primary", "skill": "mean_skill"}
    titles |= {"params": "parameters", "FLOPs": "flops", "train FLOPs": "training_flops", "train time": "training_seconds"}
    titles |= {
        "peak memory": "peak_memory_bytes",
        "train images": "images",
        "updates": "updates",
        "sparsity": "extra/sparsity",
    }
    checked = 0
    head: list[str] = []
    for line in markdown.readme(only, {}).splitlines():
        cells = [re.sub(r"\*\*|</?u>", "", cell.strip()) for cell in line[2:-2].split(" | ")]
        if line.startswith("| :--") or line.startswith("| --:"):
            continue
        if not line.startswith("|"):
            head = []
        elif not head:
            head = cells
        else:
            row = lines.get(cells[head.index("method")] if "method" in head else "", {})
            for title, shown in zip(head, cells, strict=True):
                plain = re.sub(r" ?\([^)]*\)| [↑↓]", "", title).strip()
                task, _, metric = plain.partition(": ")
                key = titles.get(plain) or (f"skill/{task}" if metric == "skill" else f"test/{task}/{metric}")
                key = key.replace("\\", "")
                if row.get(key) and shown != "–":
                    assert shown == recomputed(row[key], row[f"{key}/ci95"], title, shown), (title, shown)
                    checked += 1
    assert checked > 100


def test_latex_and_page_show_the_numbers_of_the_markdown() -> None:
    (only,) = boards(fabricate.sweep())
    readme = re.sub(r"\*\*|</?u>", "", markdown.readme(only, {}))
    page = html.unescape(site.page(only, {}, {}, []))
    paper = latex.table(only.tables[0]).replace(r"$\pm$", "±").replace("$-$", "-")
    shown = set(re.findall(r"-?\d+\.\d+ ± \d+\.\d+", readme))
    assert len(shown) > 50
    assert shown == set(re.findall(r"-?\d+\.\d+ ± \d+\.\d+", page))
    in_paper = set(re.findall(r"-?\d+\.\d+ ± \d+\.\d+", paper))
    assert len(in_paper) > 30 and in_paper <= shown
    assert r"\textbf{" in paper and r"\underline{" in paper and r"\toprule" in paper


def test_seeds_csv_has_every_record_and_its_mean_is_the_leaderboards() -> None:
    (only,) = boards(fabricate.sweep())
    seeds = lines_of(csv_text(seeds_frame(only)))
    assert len(seeds) == 18
    for line in lines_of(csv_text(rows_frame(only))):
        values = [float(seed["test/depth/abs_err"]) for seed in seeds if seed["key"] == line["key"]]
        assert float(line["test/depth/abs_err"]) == pytest.approx(sum(values) / len(values), rel=1e-12)


def test_html_markdown_and_latex_are_escaped(tmp_path: Path, without_pictures: None) -> None:
    records = [*fabricate.sweep(["single_task"]), *fabricate.sweep(["mtan"], label=NASTY, changed={"a|b": "<b>&_$"})]
    fabricate.save(records, tmp_path / "results")
    draw(tmp_path / "results", tmp_path / "out")
    for path in (tmp_path / "out" / "streets").iterdir():
        if path.suffix in (".html", ".md"):
            assert NASTY not in path.read_text(), path
    page = (tmp_path / "out" / "streets" / "index.html").read_text()
    assert html.escape(NASTY) in page
    assert NASTY not in (tmp_path / "out" / "index.html").read_text()
    (paper,) = (tmp_path / "out" / "streets").glob("*.tex")
    assert r"a\textbar{}b=\textless{}b\textgreater{}\&\_\$" in paper.read_text()
    readme = (tmp_path / "out" / "streets" / "README.md").read_text()
    assert r"a\|b=&lt;b&gt;&amp;" in readme


def test_same_records_same_bytes_pictures_included(tmp_path: Path) -> None:
    records = fabricate.sweep(["single_task", "mtan", "adashare"], seeds=2, epochs=3)
    fabricate.save(records, tmp_path / "a" / "results")
    fabricate.save(records[::-1], tmp_path / "b" / "results")
    first = draw(tmp_path / "a" / "results", tmp_path / "a" / "out")
    draw(tmp_path / "b" / "results", tmp_path / "b" / "out")
    assert first[0].name == "README.md" and all(path.is_file() for path in first)
    drawn = files_of(tmp_path / "a" / "out")
    assert drawn == files_of(tmp_path / "b" / "out")
    suffixes = [path.suffix for path in first if path.parent.name == "streets"]
    assert suffixes.count(".png") == suffixes.count(".svg") == 5


def test_only_what_changed_is_drawn_again(tmp_path: Path, without_pictures: None) -> None:
    results, out = tmp_path / "results", tmp_path / "out"
    fabricate.save(fabricate.sweep(["single_task", "mtan"], ("one", "two")), results)
    assert draw_all(results, out).drawn == ["one", "two"]
    before = files_of(out)
    assert draw_all(results, out).kept == ["one", "two"]
    fabricate.save([fabricate.record("mtan", "two", 7)], results)
    again = draw_all(results, out)
    assert (again.drawn, again.kept) == (["two"], ["one"])
    changed = {name for name, content in files_of(out).items() if before.get(name) != content}
    assert changed and all(name.startswith("two/") or name == "index.html" for name in changed)
    (out / "one" / "README.md").unlink()
    assert draw_all(results, out).drawn == ["one"]


def test_incremental_drawing_ends_as_drawing_from_nothing(tmp_path: Path, without_pictures: None) -> None:
    results = tmp_path / "results"
    other = fabricate.protocol("one", precision="bf16")
    fabricate.save([*fabricate.sweep(["mtan"], ("one",)), fabricate.record("mtan", "one", card=other)], results)
    draw(results, tmp_path / "out")
    for path in results.rglob("*.json"):
        if '"bf16"' in path.read_text():
            path.unlink()
    draw(results, tmp_path / "out")
    draw(results, tmp_path / "fresh")
    assert files_of(tmp_path / "out") == files_of(tmp_path / "fresh"), "no file of the vanished protocol is left"


def test_bad_records_are_refused_by_name_and_the_rest_is_drawn(tmp_path: Path, without_pictures: None) -> None:
    results = fabricate.save(fabricate.sweep(["mtan"]), tmp_path / "results")
    (results / "half.json").write_text("{")
    bad = fabricate.record("pcgrad")
    bad.result.test.skill["depth"] = 0.99
    fabricate.save([bad], results)
    drawn = draw_all(results, tmp_path / "out")
    assert drawn.drawn == ["streets"]
    assert len(drawn.refused) == 2
    assert any("half.json" in line and "not a readable record" in line for line in drawn.refused)
    assert any(bad.id in line and "skill of depth" in line for line in drawn.refused)
    assert "half.json" in (tmp_path / "out" / "index.html").read_text()
    assert "pcgrad" not in (tmp_path / "out" / "streets" / "README.md").read_text()


def test_mistakes_get_one_clear_line(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no such folder of records"):
        draw(tmp_path / "nowhere", tmp_path / "out")
    fabricate.save([fabricate.record()], tmp_path / "results")
    with pytest.raises(UserError, match="Did you mean 'streets'"):
        load(tmp_path / "results", ["street"])


def test_the_terminal_leaderboard_fits_a_hundred_columns() -> None:
    output = io.StringIO()
    Console(width=100, file=output, color_system=None).print(terminal(map(summary, boards(fabricate.sweep()))))
    text = output.getvalue()
    assert all(len(line) <= 100 for line in text.splitlines())
    for word in ("cross_stitch", "Δ task", "mIoU", "abs_err", "FLOPs", "seeds", "ref."):
        assert word in text
    assert "No records" in str(terminal([]))


def test_names_are_escaped_only_where_they_would_be_markup() -> None:
    assert markdown.escape("__bold__") == r"\_\_bold\_\_"
    assert markdown.escape("hard_sharing cross_stitch+x_1") == "hard_sharing cross_stitch+x_1"
    assert markdown.escape("_a (b_) _") == r"\_a (b\_) \_"
    assert (
        latex.escape('a|b "c" <d>') == r"a\textbar{}b \textquotedblright{}c\textquotedblright{} \textless{}d\textgreater{}"
    )
    assert latex.escape("[x] *y") == "{[}x] {*}y", "after the end of a line they would be its argument"


def test_addresses_are_quoted(tmp_path: Path, without_pictures: None) -> None:
    results = fabricate.save(fabricate.sweep(["mtan"]), tmp_path / "results")
    for path in results.rglob("*.json"):
        path.rename(path.with_name(f"a b#?{path.name}"))
    draw(results, tmp_path / "out")
    page = (tmp_path / "out" / "streets" / "index.html").read_text()
    assert 'href="../../results/streets/a%20b%23%3F' in page and "a b#" not in page


def test_the_index_names_what_was_refused_whatever_was_asked_for(tmp_path: Path, without_pictures: None) -> None:
    results, out = tmp_path / "results", tmp_path / "out"
    fabricate.save(fabricate.sweep(["mtan"], ("one", "two")), results)
    for dataset in ("one", "two", "only bad", "bad_alone"):
        bad = fabricate.record("pcgrad", dataset)
        bad.result.test.skill["depth"] = 0.99
        fabricate.save([bad], results)
    everything = draw_all(results, out)
    assert len(everything.refused) == 4 and everything.drawn == ["one", "two"]
    before = files_of(out)
    assert before["index.html"].count(b"skill of depth") == 3 and b"expected letters" in before["index.html"]
    some = draw_all(results, out, ["one"])
    assert some.kept == ["one"] and not any("/two/" in line for line in some.refused)
    assert files_of(out) == before
    assert not draw_all(results, out).drawn
    assert files_of(out) == before
