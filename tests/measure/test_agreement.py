"""How far the structures that several seeds found agree."""

import pytest

from mtlbench.measure.agreement import agreement

TREE = [[0, 0, 0], [0, 1, 1], [0, 1, 2]]
SEPARATE, SHARED = [[0, 1, 2]] * 3, [[0, 0, 0]] * 3


def test_equal_structures_agree_and_opposite_ones_do_not() -> None:
    assert agreement([TREE, TREE, TREE]) == pytest.approx(1)
    assert agreement([SHARED, SEPARATE]) == pytest.approx(0)
    assert 0 < (agreement([TREE, [[0, 0, 0], [0, 0, 0], [0, 1, 1]]]) or 0) < 1
    # The same tasks apart, under other numbers.
    assert agreement([TREE, [[2, 2, 2], [5, 3, 3], [5, 3, 4]]]) == pytest.approx(1)


def test_nothing_is_said_where_nothing_can_differ() -> None:
    assert agreement([TREE]) is None
    assert agreement([SHARED, SHARED]) is None
    assert agreement([SEPARATE, SEPARATE]) is None
    assert agreement([[[0]], [[0]]]) is None


def test_a_unit_that_both_tasks_skip_is_not_shared() -> None:
    assert agreement([[[None, None], [0, 0]], [[0, 1], [0, 0]]]) == pytest.approx(1)
