"""LaTeX: a booktabs table for a paper, the best of a column bold, its ties underlined."""

from __future__ import annotations

from itertools import groupby

from mtlbench.leaderboard import number_format
from mtlbench.leaderboard.columns import Column
from mtlbench.leaderboard.number_format import NumberFormat
from mtlbench.leaderboard.table import Row, Table

_SPECIAL = {
    "\\": r"\textbackslash{}", "{": r"\{", "}": r"\}", "$": r"\$", "&": r"\&", "#": r"\#", "%": r"\%", "_": r"\_",
    "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "<": r"\textless{}", ">": r"\textgreater{}",
    "±": r"$\pm$", "↑": r"$\uparrow$", "↓": r"$\downarrow$", "Δ": r"$\Delta$", "°": r"$^\circ$", "–": "--", "−": "$-$",
    "|": r"\textbar{}", '"': r"\textquotedblright{}", "[": "{[}", "*": "{*}",
    "·": r"$\cdot$", "…": r"\dots{}", "δ": r"$\delta$",
}  # fmt: skip


def escape(value: str) -> str:
    """Text that LaTeX prints as it stands.

    A bracket or star that follows the end of a line would be read as its argument.
    """
    return "".join(_SPECIAL.get(letter, letter) for letter in " ".join(value.split()))


def table(table: Table) -> str:
    """One table: the reference above a rule, then the methods; needs `\\usepackage{booktabs}`."""
    columns = _columns(table)
    forms = number_format.number_formats(table)
    groups = [(name, len(list(inside))) for name, inside in groupby(columns, key=_group)]
    lines = [
        f"% {table.dataset}, protocol {table.protocol_id}: mean over seeds, 95 % t interval; needs \\usepackage{{booktabs}}",
        "% bold: best of the column; underlined: Tukey-Kramer cannot separate it from the best",
        rf"\begin{{tabular}}{{l{'r' * len(columns)}r}}",
        r"\toprule",
        " & ".join(["", *(_spanned(name, width) for name, width in groups), ""]) + r" \\",
        " ".join(_rules(groups)),
        " & ".join(["method", *(escape(number_format.header(column, forms[column.key])) for column in columns), "seeds"])
        + r" \\",
        r"\midrule",
    ]
    references = [row for row in table.rows if row.reference]
    lines += [_line(row, columns, forms) for row in references]
    lines += [r"\midrule"] if references else []
    lines += [_line(row, columns, forms) for row in table.rows if not row.reference]
    return "\n".join([*lines, r"\bottomrule", r"\end{tabular}"]) + "\n"


def _columns(table: Table) -> list[Column]:
    """The columns of a paper's table: metrics (without their skills), mean skill, Δ, size and cost."""
    metrics = [column for column in table.columns if column.key.startswith("test/")]
    if len(table.tasks) > number_format.WIDEST:
        metrics = []
    keys = ("mean_skill", "delta/task", "delta/metric", "delta/primary", "parameters", "flops")
    return number_format.filled(table, [*metrics, *(table.column(key) for key in keys)])


def _group(column: Column) -> str:
    return column.group if column.key.startswith("test/") else ""


def _spanned(name: str, width: int) -> str:
    return rf"\multicolumn{{{width}}}{{c}}{{{escape(name)}}}"


def _rules(groups: list[tuple[str, int]]) -> list[str]:
    rules, start = [], 2
    for name, width in groups:
        if name:
            rules.append(rf"\cmidrule(lr){{{start}-{start + width - 1}}}")
        start += width
    return rules


def _line(row: Row, columns: list[Column], forms: dict[str, NumberFormat]) -> str:
    cells = [escape(row.title)]
    for column in columns:
        cell = row.cells.get(column.key)
        text = escape(forms[column.key].cell(cell))
        if cell is not None and cell.mean < 0:
            text = text.replace("-", "$-$", 1)
        mark = cell.mark if cell is not None else ""
        cells.append({"best": rf"\textbf{{{text}}}", "tied": rf"\underline{{{text}}}"}.get(mark, text))
    return " & ".join([*cells, str(len(row.records))]) + r" \\"
