"""Bars by block: what is stored is what is loaded, adjusted as the manifest says."""

import pickle

import dask
import numpy as np
import pandas as pd
import pytest

from pipeline.bars.blocks import blocks_of, columns_of, load_block, open_bars
from stores import make_store

SESSIONS = pd.bdate_range("2020-11-30", "2021-01-29")
SYMBOLS = ["000001", "AAPL", "MSFT", "NA", "brk.b"]


@pytest.fixture(scope="module")
def frame():
    random = np.random.default_rng(7)
    frames = []
    for symbol in SYMBOLS:
        low, rise = random.uniform(1, 100, len(SESSIONS)), random.uniform(0, 1, (3, len(SESSIONS)))
        bars = {"open": low + rise[0], "high": low + 1, "low": low, "close": low + rise[1], "volume": rise[2]}
        factor = np.where(SESSIONS < "2021-01-15", 1.0, 4.0)
        frames.append(pd.DataFrame({"symbol": symbol, "session": SESSIONS, **bars, "factor": factor, "pe": rise[0]}))
    return pd.concat(frames, ignore_index=True)


@pytest.fixture(scope="module")
def snapshot(frame, tmp_path_factory):
    shuffled = frame.sample(frac=1, random_state=1)
    return make_store(tmp_path_factory.mktemp("bars") / "store", shuffled, blocks=2)


def test_blocks_hold_every_symbol_once(snapshot):
    """Blocks are disjoint, ascending, and hold all symbols asked for and no other."""
    assert [symbol for block in blocks_of(snapshot, SYMBOLS) for symbol in block.symbols] == SYMBOLS
    assert [block.symbols for block in blocks_of(snapshot, ["AAPL", "NA"])] == [("AAPL",), ("NA",)]
    assert blocks_of(snapshot, []) == []


def test_raw_columns_are_the_stored_ones(snapshot, frame):
    """raw_ prices, volume and extras come back bit for bit, over all periods."""
    names = ["raw_open", "raw_high", "raw_low", "raw_close", "volume", "pe"]
    loaded = pd.concat(load_block(block, names) for block in blocks_of(snapshot, SYMBOLS))

    assert len(snapshot.manifest.periods) == 2
    assert loaded.columns.tolist() == ["symbol", "session", *names]
    assert loaded["symbol"].tolist() == frame["symbol"].tolist()
    assert (loaded["session"].to_numpy() == frame["session"].to_numpy()).all()
    for name in names:
        assert loaded[name].tolist() == frame[name.removeprefix("raw_")].tolist()


def test_prices_are_adjusted_to_the_last_bar(snapshot, frame):
    """After a 4:1 split the bars before it are a quarter of what was traded, the last one is as traded."""
    block = blocks_of(snapshot, ["MSFT"])[0]
    loaded = load_block(block, ["close", "raw_close"])
    traded = frame.loc[frame["symbol"] == "MSFT", "close"].to_numpy()
    before = (SESSIONS < "2021-01-15").sum()

    assert loaded["raw_close"].tolist() == traded.tolist()
    assert loaded["close"].tolist() == [*(traded[:before] / 4).tolist(), *traded[before:].tolist()]


def test_symbol_is_text_that_no_parser_touched(snapshot):
    """000001 and NA stay text; the column is categorical with the block's symbols."""
    loaded = load_block(blocks_of(snapshot, ["000001", "AAPL", "NA"])[1], [])

    assert loaded["symbol"].dtype == "category"
    assert loaded["symbol"].cat.categories.tolist() == ["NA"]


def test_columns_are_named(snapshot):
    """A strategy may ask for adjusted and raw prices, volume and what else the source has."""
    assert columns_of(blocks_of(snapshot, SYMBOLS)[0]) == (
        *("open", "high", "low", "close", "volume"),
        *("raw_open", "raw_high", "raw_low", "raw_close", "pe"),
    )


def test_frame_has_a_partition_per_block_and_is_lazy(snapshot):
    """Opening computes nothing; computing gives every block as one partition with the dtypes of the meta."""
    bars = open_bars(blocks_of(snapshot, SYMBOLS), ["close", "pe"])
    parts = dask.compute(*bars.to_delayed(), scheduler="synchronous")

    assert bars.npartitions == len(parts) == 2
    assert bars.columns.tolist() == ["symbol", "session", "close", "pe"]
    assert sum(map(len, parts)) == len(SYMBOLS) * len(SESSIONS)
    assert dask.compute(bars[["close"]].sum(), scheduler="synchronous")[0]["close"] == pytest.approx(
        sum(part["close"].sum() for part in parts)
    )
    for part in parts:
        assert part.dtypes[1:].to_dict() == bars.dtypes[1:].to_dict()


def test_block_is_light_to_send(snapshot):
    """What travels to a worker is a description, not bars."""
    assert len(pickle.dumps(blocks_of(snapshot, SYMBOLS)[0])) < 2_000
