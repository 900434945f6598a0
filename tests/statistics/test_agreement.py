"""How far the sharing plans of several seeds agree."""

import random

import pytest

from mtlbench.statistics.agreement import agreement

TREE = [[0, 0, 0], [0, 1, 1], [0, 1, 2]]
SEPARATE, SHARED = [[0, 1, 2]] * 3, [[0, 0, 0]] * 3


def test_equal_plans_agree_and_opposite_ones_do_not() -> None:
    assert agreement([TREE, TREE, TREE]) == pytest.approx(1)
    assert agreement([SHARED, SEPARATE]) == pytest.approx(0)
    assert agreement([TREE, [[0, 0, 0], [0, 1, 1], [0, 1, 1]]]) == pytest.approx(4 / 7)
    # The same tasks apart, under other numbers.
    assert agreement([TREE, [[2, 2, 2], [5, 3, 3], [5, 3, 4]]]) == pytest.approx(1)


def test_nothing_is_said_where_nothing_can_differ() -> None:
    assert agreement([TREE]) is None
    assert agreement([SHARED, SHARED]) is None
    assert agreement([SEPARATE, SEPARATE]) is None
    assert agreement([[[0]], [[0]]]) is None


def test_a_unit_that_both_tasks_skip_is_not_shared() -> None:
    assert agreement([[[None, None, 0, 0]], [[0, 1, 2, 2]]]) == pytest.approx(1)


def random_tree(draw: random.Random, tasks: int = 5, units: int = 6) -> list[list[int]]:
    """All tasks share the first unit; at every further one a group may part in two, at random."""
    rows = [[0] * tasks]
    for _ in range(units - 1):
        row, groups = [0] * tasks, sorted(set(rows[-1]))
        for number, group in enumerate(groups):
            for task in range(tasks):
                if rows[-1][task] == group:
                    row[task] = 2 * number + (draw.random() < 0.3)
        rows.append(row)
    return rows


def test_chance_gives_nothing_although_early_units_are_shared_more() -> None:
    draw = random.Random(0)
    trees = agreement([random_tree(draw) for _ in range(150)])
    skips = agreement([[[0] * 4, *([draw.choice([0, None]) for _ in range(4)] for _ in range(8))] for _ in range(150)])
    assert trees == pytest.approx(0, abs=0.02)
    assert skips == pytest.approx(0, abs=0.02)
