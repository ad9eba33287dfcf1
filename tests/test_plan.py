"""Where bars lie: blocks of symbols, periods of sessions."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.bars import plan
from pipeline.bars.plan import block_count, extend_periods, lay_blocks, lay_periods, period_of
from pipeline.bars.store import Period

ROWS = st.dictionaries(st.text("ABC", min_size=1, max_size=4), st.integers(1, 5_000), min_size=1, max_size=40)


def days_of(*texts: str) -> np.ndarray:
    return np.array(texts, "datetime64[D]")


def ones(days: np.ndarray) -> np.ndarray:
    return np.ones(len(days), np.int64)


@pytest.mark.parametrize(
    ("rows", "symbols", "blocks"),
    [
        (100, 1, 1),
        (100, 5, 5),
        (100, 300, 16),
        (1_189_018, 252, 16),
        (12_600_000, 5_000, 27),
        (50_000_000, 500, 27),
        (490_000_000, 500, 123),
        (1_000_000, 2, 2),
    ],
)
def test_block_count_keeps_cores_busy_and_blocks_small(rows, symbols, blocks):
    """There are 16 blocks or one per 150,000 rows, never more than symbols."""
    assert block_count(rows, symbols) == blocks


def test_blocks_are_even_in_rows():
    """Symbols are shared out by rows, not by their number: 4 | 2 + 2 | 1 + 1 + 1 + 1."""
    rows = {"A": 4, "B": 2, "C": 2, "D": 1, "E": 1, "F": 1, "G": 1}

    assert lay_blocks(rows, 3) == {"A": 0, "B": 1, "C": 1, "D": 2, "E": 2, "F": 2, "G": 2}


def test_blocks_may_begin_at_any_number():
    """New symbols of an update form blocks after those there are."""
    assert lay_blocks({"B": 1, "A": 1}, 2, first=7) == {"A": 7, "B": 8}


@given(rows=ROWS, share=st.floats(0, 1))
def test_blocks_are_consecutive_and_all_used(rows, share):
    """Exactly as many blocks as asked for, each of consecutive symbols."""
    count = 1 + int(share * (len(rows) - 1))
    blocks = lay_blocks(rows, count)

    assert list(blocks) == sorted(rows)
    assert list(blocks.values()) == sorted(blocks.values())
    assert set(blocks.values()) == set(range(count))


@given(rows=ROWS)
def test_blocks_do_not_depend_on_order(rows):
    """The same rows give the same blocks, in whatever order the files came."""
    assert lay_blocks(rows, 1 + len(rows) // 3) == lay_blocks(dict(reversed(rows.items())), 1 + len(rows) // 3)


def test_tail_is_the_last_calendar_year():
    """Years before the last one are closed, the last one is open."""
    days = days_of("2019-12-30", "2020-01-02", "2020-12-31", "2021-01-04", "2021-04-21")

    assert lay_periods(days, ones(days)) == (
        Period("2019-12-30", "2020-12-31", open=False),
        Period("2021-01-04", "2021-04-21", open=True),
    )


def test_one_year_is_only_a_tail():
    """A history within one year has nothing to close."""
    days = days_of("2020-01-02", "2020-06-30")

    assert lay_periods(days, ones(days)) == (Period("2020-01-02", "2020-06-30", open=True),)


def test_closed_periods_are_bounded(monkeypatch):
    """Years join a closed period while it stays within its rows; a longer year stands alone."""
    monkeypatch.setattr(plan, "CLOSED_ROWS", 10)
    days = days_of("2015-06-01", "2016-06-01", "2017-06-01", "2018-06-01", "2019-06-01")

    periods = lay_periods(days, np.array([4, 6, 5, 30, 1]))

    assert [(period.first[:4], period.last[:4]) for period in periods] == [
        ("2015", "2016"),
        ("2017", "2017"),
        ("2018", "2018"),
        ("2019", "2019"),
    ]
    assert [period.open for period in periods] == [False, False, False, True]


CLOSED = Period("2019-01-02", "2020-12-31", open=False)
TAIL = Period("2021-01-04", "2021-12-30", open=True)


def test_new_session_goes_to_the_tail():
    """A night's sessions lengthen the tail and nothing else."""
    days = days_of("2021-12-31")

    assert extend_periods((CLOSED, TAIL), (500, 250), days, ones(days)) == (
        CLOSED,
        Period("2021-01-04", "2021-12-31", open=True),
    )


def test_tail_of_more_than_a_year_is_folded():
    """A session beyond a year folds the tail into the closed period before it and begins a new tail."""
    days = days_of("2021-12-30", "2022-01-06")

    assert extend_periods((CLOSED, TAIL), (500, 250), days, ones(days)) == (
        Period("2019-01-02", "2021-12-30", open=False),
        Period("2022-01-06", "2022-01-06", open=True),
    )


def test_tail_is_closed_alone_beside_a_full_period(monkeypatch):
    """A tail that does not fit into the closed period before it becomes one itself."""
    monkeypatch.setattr(plan, "CLOSED_ROWS", 700)
    days = days_of("2022-01-06")

    assert extend_periods((CLOSED, TAIL), (500, 250), days, ones(days)) == (
        CLOSED,
        Period("2021-01-04", "2021-12-30", open=False),
        Period("2022-01-06", "2022-01-06", open=True),
    )


def test_tail_of_too_many_rows_is_folded(monkeypatch):
    """A tail above its rows is folded although its year is not over."""
    monkeypatch.setattr(plan, "TAIL_ROWS", 250)
    days = days_of("2021-12-31")

    assert [period.last for period in extend_periods((CLOSED, TAIL), (500, 250), days, ones(days))] == [
        "2021-12-30",
        "2021-12-31",
    ]


def test_years_missed_are_laid_out_like_a_first_ingest():
    """After years without an ingest only the last calendar year is open."""
    days = days_of("2022-06-01", "2023-06-01", "2024-06-03")

    assert extend_periods((CLOSED, TAIL), (500, 250), days, ones(days)) == (
        Period("2019-01-02", "2023-06-01", open=False),
        Period("2024-06-03", "2024-06-03", open=True),
    )


def test_old_sessions_belong_to_the_first_period():
    """Sessions before all others, or between two periods, lengthen the earlier one; starts stay."""
    days = days_of("2018-05-01", "2021-01-01")

    assert extend_periods((CLOSED, TAIL), (500, 250), days, ones(days)) == (
        Period("2018-05-01", "2021-01-01", open=False),
        TAIL,
    )
    assert period_of((CLOSED, TAIL), days_of("2018-05-01", "2021-01-01", "2021-01-04")).tolist() == [0, 0, 1]


def test_long_tail_waits_for_a_new_session():
    """Without a later session there is nothing to begin a new tail with."""
    tail = Period("2019-01-02", "2021-12-30", open=True)

    assert extend_periods((tail,), (750,), days_of("2020-05-04"), np.array([1])) == (tail,)
