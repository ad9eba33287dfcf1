"""Blocks cut and joined into tasks."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.bars import blocks
from pipeline.bars.blocks import Block, Slice, blocks_of, joined, load_block
from pipeline.bars.parquet import read_parquet
from pipeline.bars.split import MOST_ROWS, split
from signal_cases import SYMBOLS, market
from stores import make_store

LIGHT, HEAVY = 5e-8, 2e-6  # seconds per bar


def block(number: int, lengths: list[int]) -> Block:
    """Return a block of so many symbols, all in one file."""
    names = tuple(f"S{number:03d}-{place:03d}" for place in range(len(lengths)))
    ends = np.cumsum(lengths).tolist()
    slices = tuple((Slice(0, end - length, end),) for end, length in zip(ends, lengths, strict=True))
    return Block(number, (f"b{number}.parquet",), names, (1.0,) * len(lengths), slices, ())


def stored(count: int = 16, symbols: int = 16, bars: int = 5_000) -> list[Block]:
    return [block(number, [bars] * symbols) for number in range(count)]


def symbols_of(several: list[Block]) -> list[str]:
    return [symbol for each in several for symbol in each.symbols]


def last_idle(tasks: list[Block], workers: int) -> float:
    """Return which part of the time the first worker to end has nothing to do; each takes the next task when free."""
    free = np.zeros(workers)
    for task in tasks:
        free[free.argmin()] += task.rows
    return float((free.max() - free.min()) / free.max())


@given(
    st.lists(st.lists(st.integers(1, 60_000), min_size=1, max_size=20), min_size=1, max_size=12),
    st.integers(1, 64),
    st.floats(1e-9, 1e-3),
)
def test_no_symbol_is_lost_or_moved(lengths, workers, seconds_per_row):
    """Whatever the split: the same symbols with the same slices, in the same order."""
    given = [block(number, each) for number, each in enumerate(lengths)]
    tasks = split(given, workers, seconds_per_row)

    assert symbols_of(tasks) == symbols_of(given)
    assert [each for task in tasks for each in task.lengths] == [each for one in given for each in one.lengths]
    assert all(task.symbols for task in tasks)


@pytest.mark.parametrize("workers", [2, 3, 4, 7])
def test_workers_end_together(workers):
    """With a slow strategy the first worker to end waits for the others less than a tenth of the time."""
    assert last_idle(split(stored(), workers, HEAVY), workers) < 0.1


def test_the_largest_come_first():
    """Sizes fall towards the end, so that the last task is a small one."""
    rows = [task.rows for task in split(stored(), 2, HEAVY)]

    assert rows[0] == max(rows) <= MOST_ROWS * 1.25
    assert rows[-1] <= sum(rows) / 20


def test_quick_strategies_get_few_tasks():
    """Handing out a task costs a millisecond: small ones are joined, and nothing is read twice."""
    tasks = split(stored(bars=500), 2, LIGHT)  # 128,000 bars of 6 ms in all
    files = [file for task in split(stored(), 2, LIGHT) for file in task.files]

    assert len(tasks) == 1
    assert len(files) == len(set(files)) == 16


def test_one_worker_gets_whole_blocks():
    """Cutting is for workers who would wait for each other."""
    files = [file for task in split(stored(), 1, HEAVY) for file in task.files]

    assert len(files) == len(set(files))


def test_most_blocks_stay_whole():
    """Every worker that gets a piece reads the whole block: only the last ones are cut, for workers to end together."""
    tasks = split(stored(), 2, HEAVY)
    cut = {file for task in tasks for file in task.shared}

    assert 1 <= len(cut) <= 4
    assert cut == {f"b{number}.parquet" for number in range(16 - len(cut), 16)}


def test_a_worker_reads_a_cut_block_once(tmp_path, monkeypatch):
    """Pieces of a block one after the other: its files are read for the first one, and forgotten after the last."""
    whole, other = blocks_of(make_store(tmp_path, market(), blocks=2, tail="2020-06-01"), list(SYMBOLS))
    first, second = whole.cut(1)
    read = []
    monkeypatch.setattr(blocks, "read_parquet", lambda *what: read.append(what[0]) or read_parquet(*what))

    frames = [load_block(piece, ("close",)) for piece in (first, second)]
    assert read == list(whole.files)
    assert pd.concat(frames)["close"].tolist() == load_block(whole, ("close",))["close"].tolist()
    read.clear()
    load_block(other, ("close",))
    load_block(second, ("close",))
    load_block(second, ("close", "volume"))
    assert read == [*other.files, *whole.files, *whole.files]


def test_a_task_is_no_larger_than_a_worker_should_hold():
    """However little a bar costs; a symbol that is longer is a task of its own."""
    tasks = split([block(0, [400_000, 10, 10])], 2, LIGHT)

    assert tasks[0].rows == 400_020 or tasks[0].symbols == ("S000-000",)
    assert max(task.rows for task in split(stored(64), 2, LIGHT)) <= MOST_ROWS * 1.25


def test_parts_and_joins_hold_the_same_bars(tmp_path):
    """Cutting a block and joining the parts to others changes no bar."""
    several = blocks_of(make_store(tmp_path, market(), blocks=2, tail="2020-06-01"), list(SYMBOLS))
    whole = [load_block(each, ("close", "volume")) for each in several]
    parts = [each.between(place, place + 1) for each in several for place in range(len(each.symbols))]
    again = load_block(joined(parts), ("close", "volume"))

    for name in ("session", "close", "volume"):
        assert np.array_equal(again[name], np.concatenate([each[name] for each in whole]))
    assert again["symbol"].tolist() == [symbol for each in whole for symbol in each["symbol"]]
    assert joined(several).rows == len(market())
    assert str(joined(several)) == "AAA..FFF"
