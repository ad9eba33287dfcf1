"""Rows of one symbol become bars: unique sessions, an append-only factor, actions, and notes of what is doubtful."""

from datetime import date, datetime, timedelta
from pathlib import Path

import bokeh_sampledata
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.bars.assembly import assemble
from pipeline.bars.reading import read_file
from pipeline.bars.rows import ROWS, ReadOptions
from pipeline.schema import ACTIONS, BARS, QUARANTINE

MONDAY = datetime(2020, 1, 6)  # noqa: DTZ001 - sessions have no zone


def rows_of(*rows, extras=()):
    """Rows as `read_file` gives them; what a row leaves out is a quiet bar at 10, from 20 % below to 20 % above."""
    schema = pa.schema([*ROWS, *((name, pa.float64()) for name in extras), ("file", pa.int32())])
    quiet = {"symbol": "A", "open": 10.0, "close": 10.0, "volume": 100.0}
    quiet |= {"factor": None, "adjusted_close": None, "dividend": 0.0, "split": 1.0, "file": 0}
    full = []
    for number, row in enumerate(rows):
        session = MONDAY + timedelta(row.get("day", number))
        dated = {"session": session, "time": session, "line": number + 2}
        dated |= {"high": 1.2 * row.get("close", 10.0), "low": 0.8 * row.get("close", 10.0)}
        full.append({**quiet, **dated, **{name: value for name, value in row.items() if name != "day"}})
    return pa.Table.from_pylist(full, schema=schema)


def factors(*rows):
    return assemble("A", rows_of(*rows), ["a.csv"], []).bars["factor"].to_pylist()


def conserved(assembled, rows):
    return rows.num_rows == assembled.bars.num_rows + assembled.duplicates + assembled.quarantine.num_rows


def test_bars_have_the_columns_of_the_schema():
    """Bars, actions and quarantine come in the forms that every stage relies on, the extras after the rest."""
    assembled = assemble("A", rows_of({"pe": 7.5}, {}, extras=["pe"]), ["a.csv"], ["pe", "pb"])

    assert assembled.bars.schema == pa.schema([*BARS, ("pe", pa.float64()), ("pb", pa.float64())])
    assert assembled.actions.schema == ACTIONS
    assert assembled.quarantine.schema == QUARANTINE
    assert assembled.bars["symbol"].to_pylist() == ["A", "A"]
    np.testing.assert_array_equal(assembled.bars["pe"].to_numpy(), [7.5, np.nan])
    np.testing.assert_array_equal(assembled.bars["pb"].to_numpy(), [np.nan, np.nan])


def test_factor_follows_dividends_and_splits():
    """On an ex-date the factor grows by split x (1 + dividend / close of that day)."""
    found = factors({}, {"dividend": 0.5}, {}, {"close": 8.0, "split": 2.0, "dividend": 0.4}, {})

    assert found == pytest.approx([1.0, 1.05, 1.05, 1.05 * 2 * 1.05, 1.05 * 2 * 1.05], rel=1e-15)


def test_action_on_the_first_bar_changes_no_factor():
    """There is nothing before the first bar to adjust; the action itself is not lost."""
    assembled = assemble("A", rows_of({"dividend": 0.5, "split": 2.0}, {}), ["a.csv"], [])

    assert assembled.bars["factor"].to_pylist() == [1.0, 1.0]
    assert assembled.actions.to_pylist() == [
        {
            "symbol": "A",
            "ex_date": assembled.bars["session"][0].as_py(),
            "pay_date": None,
            "dividend": 0.5,
            "split": 2.0,
        }
    ]


@pytest.mark.parametrize("split", [1e6, 1e-6])
def test_actions_beyond_reason_refuse_the_symbol(split):
    """Twenty splits of a million to one are no market's; every row is refused, and no number becomes infinite."""
    rows = rows_of(*[{"split": split}] * 20, {"day": 3, "split": split})
    assembled = assemble("A", rows, ["a.csv"], [])

    assert (assembled.bars.num_rows, assembled.duplicates, assembled.actions.num_rows) == (0, 0, 0)
    assert assembled.quarantine["rule"].to_pylist() == ["action"] * 21
    assert assembled.bars.schema == BARS


def test_factor_follows_an_adjusted_close_where_there_are_no_actions():
    """Adjusted over raw, relative to the first bar: 0.25 then 0.5 is a step of 2."""
    found = factors(*({"close": c, "adjusted_close": a} for c, a in [(10, 2.5), (8, 2.0), (9, 4.5), (10, 5.0)]))

    assert found == [1.0, 1.0, 2.0, 2.0]


def test_rounding_of_an_adjusted_close_moves_no_factor():
    """Prices x 0.9731 printed with two decimals: the ratio trembles, the factor does not; a dividend of 1 % shows."""
    closes = [31.17, 30.52, 29.99, 31.08, 33.33, 34.01, 32.87, 33.05]
    true = [0.9731] * 4 + [0.9731 * 1.01] * 4
    found = factors(*({"close": c, "adjusted_close": round(c * f, 2)} for c, f in zip(closes, true, strict=True)))

    assert found[:4] == [1.0] * 4
    assert len(set(found[4:])) == 1
    assert found[4] == pytest.approx(1.01, abs=4e-4)


def test_single_precision_moves_no_factor():
    """Yahoo keeps prices in single precision: the last digits of the ratio mean nothing."""
    closes = np.array([74.06, 74.95, 75.09, 74.36], np.float32)
    adjusted = (closes.astype(float) * 0.97674).astype(np.float32)
    found = factors(*({"close": float(c), "adjusted_close": float(a)} for c, a in zip(closes, adjusted, strict=True)))

    assert found == [1.0] * 4


def test_factor_of_the_vendor_is_taken_as_it_is():
    """Tushare's cumulative factor, relative to the first bar: a step of 0.03 % counts, however coarse the prices."""
    found = factors(*({"close": c, "factor": f} for c, f in [(3.0, 108.0), (3.1, 108.0), (3.0, 108.0324), (6, 216.0)]))

    assert found == pytest.approx([1.0, 1.0, 1.0003, 2.0], rel=1e-15)


def test_tremble_of_a_factor_made_of_single_precision_moves_nothing():
    """Qlib's factor is the ratio of two prices of Yahoo, which keeps seven digits of each."""
    closes = np.array([74.06, 74.95, 75.09, 74.36], np.float32).astype(float)
    adjusted = (closes * 0.97674).astype(np.float32).astype(float)

    assert len(set((adjusted / closes).tolist())) > 1
    assert factors(*({"factor": ratio} for ratio in adjusted / closes)) == [1.0] * 4


def test_factor_that_is_missing_on_some_sessions_is_told():
    """Where only some rows have a factor none is applied, with a note that says how many lack it and since when."""
    assembled = assemble("A", rows_of({"factor": 1.0}, {"factor": 2.0}, {}, {}), ["a.csv"], [])

    assert assembled.bars["factor"].to_pylist() == [1.0] * 4
    (note,) = assembled.notes
    assert note.startswith("A: no adjustment factor on 2 of 4 bars, first on 2020-01-08, so none is applied")


def test_factors_that_differ_are_a_conflict():
    """Two factors of one session leave it in doubt, unless dividends and splits are known."""
    rows = [{"day": 0, "factor": 1.0}, {"day": 0, "factor": 2.0, "file": 1}]

    assert assemble("A", rows_of(*rows), ["a.csv", "b.csv"], []).quarantine.num_rows == 2
    acted = [*rows, {"day": 1, "split": 2.0, "factor": 1.0}]
    assert assemble("A", rows_of(*acted), ["a.csv", "b.csv"], []).duplicates == 1


def test_without_actions_and_adjusted_close_the_factor_is_one():
    """Prices that come adjusted, or of which nothing is known, are taken as they are."""
    assert factors({}, {"close": 11.0}, {}) == [1.0, 1.0, 1.0]


@given(
    st.lists(
        st.tuples(st.integers(100, 10_000), st.sampled_from([0, 0, 0, 5, 25]), st.sampled_from([1, 1, 1, 2, 0.1])),
        min_size=2,
        max_size=30,
    ),
    st.booleans(),
    st.data(),
)
def test_factor_is_append_only(prices, with_actions, data):
    """Later bars, whatever they bring, leave the factor of the earlier ones as it was, bit for bit."""
    rows, level = [], 0.5
    for cents, dividend, split in prices:
        level *= split * (1 + dividend / cents)
        row = {"close": cents / 100, "adjusted_close": round(cents / 100 * level, 4) or 1e-4}
        rows.append(row | ({"dividend": dividend / 100, "split": float(split)} if with_actions else {}))
    if with_actions:
        rows[0] |= {"dividend": 0.01}
    cut = data.draw(st.integers(1, len(rows)))

    assert factors(*rows[:cut]) == factors(*rows)[:cut]


def test_equal_rows_are_one_and_counted():
    """The same session twice with the same values is one bar and one duplicate, from whichever file."""
    rows = rows_of({"day": 0, "pe": None}, {"day": 0, "file": 1, "pe": None}, {"day": 1, "pe": 3.0}, extras=["pe"])
    assembled = assemble("A", rows, ["a.csv", "b.csv"], ["pe"])

    assert (assembled.bars.num_rows, assembled.duplicates, assembled.quarantine.num_rows) == (2, 1, 0)


def test_rows_that_differ_are_all_refused():
    """Of one session with two closes none is kept, also not the one that comes twice."""
    rows = rows_of({"day": 0}, {"day": 1}, {"day": 1}, {"day": 1, "close": 11.0, "file": 1}, {"day": 2})
    assembled = assemble("A", rows, ["a.csv", "b.csv"], [])

    assert [day.day for day in assembled.bars["session"].to_pylist()] == [6, 8]
    assert assembled.duplicates == 0
    found = assembled.quarantine.to_pylist()
    assert [(entry["file"], entry["line"], entry["rule"]) for entry in found] == [
        ("a.csv", 3, "conflict"),
        ("a.csv", 4, "conflict"),
        ("b.csv", 5, "conflict"),
    ]
    assert found[2]["text"].startswith("session=2020-01-07 open=10 high=13.2 low=8.8 close=11 volume=100")


def test_later_download_of_the_same_bars_is_no_conflict():
    """Every ex-date moves all adjusted closes; where the actions are known they are the ones that count."""
    earlier = [{"day": 0, "adjusted_close": 10.0}, {"day": 1, "adjusted_close": 10.0}]
    later = [{"day": day, "adjusted_close": 9.0, "file": 1} for day in (0, 1)]
    dividend = {"day": 2, "dividend": 1.0, "close": 9.0, "adjusted_close": 9.0, "file": 1}

    with_actions = assemble("A", rows_of(*earlier, *later, dividend), ["a.csv", "b.csv"], [])
    assert (with_actions.bars.num_rows, with_actions.duplicates) == (3, 2)
    without = assemble("A", rows_of(*earlier, *later), ["a.csv", "b.csv"], [])
    assert (without.bars.num_rows, without.quarantine.num_rows) == (0, 4)


@given(
    st.lists(st.tuples(st.integers(0, 5), st.sampled_from([10.0, 11.0]), st.integers(0, 1)), max_size=12), st.randoms()
)
def test_order_of_rows_and_files_means_nothing(drawn, random):
    """However rows arrive they give the same bars, and none is lost."""
    rows = rows_of(*({"day": day, "close": close, "file": file} for day, close, file in drawn))
    shuffled = rows.take(random.sample(range(len(drawn)), len(drawn))) if drawn else rows
    first, second = (assemble("A", table, ["a.csv", "b.csv"], []) for table in (rows, shuffled))

    assert first == second
    assert conserved(first, rows)
    days = first.bars["session"].to_pylist()
    assert days == sorted(set(days))


def test_wrong_adjusted_close_is_noted():
    """A vendor whose adjusted close lacks a split is told, with the day and both steps; the actions are believed."""
    assembled = assemble(
        "A",
        rows_of(
            {"close": 10.0, "adjusted_close": 10.0},
            {"close": 5.0, "adjusted_close": 5.0, "split": 2.0},
            {"close": 5.0, "adjusted_close": 5.0},
        ),
        ["a.csv"],
        [],
    )

    assert assembled.bars["factor"].to_pylist() == [1.0, 2.0, 2.0]
    (note,) = assembled.notes
    assert "on 1 bar, most on 2020-01-07: a step of 1 against 2; the actions are believed" in note


def test_jump_without_an_action_is_noted():
    """A halved price with its split is quiet; one without, or a change of unit, is told with its day and size."""
    split = assemble("A", rows_of({"close": 10.0}, {"close": 4.9, "split": 2.0}), ["a.csv"], [])
    missing = assemble("A", rows_of({"close": 10.0}, {"close": 4.9}, {"close": 4900.0}), ["a.csv"], [])

    assert split.notes == ()
    assert len(missing.notes) == 1
    assert "on 2 bars without a corporate action that explains it, first on 2020-01-07 (-51.0%)" in missing.notes[0]


@pytest.mark.parametrize(
    ("bar", "reach"),
    [
        ({"high": 14.0, "low": 6.1}, None),  # 40 % is not more
        ({"high": 14.1}, "+41.0%"),
        ({"low": 5.9}, "-41.0%"),
        ({"close": 13.0, "high": 18.1}, None),  # 39 % above its own close
        ({"close": 13.0, "high": 18.3}, "+40.8%"),
        ({"close": 5.0, "split": 2.0, "high": 7.1, "low": 4.0}, "+42.0%"),  # adjusted prices count
    ],
)
def test_a_bar_that_reaches_far_beyond_its_closes_is_noted(bar, reach):
    """A wrong high or low does so, and a stop would fill there; most such bars of real files are errors."""
    assembled = assemble("A", rows_of({}, bar, {"close": bar.get("close", 10.0)}), ["a.csv"], [])

    assert [note.partition(" (")[2].partition(")")[0] for note in assembled.notes] == ([reach] if reach else [])
    if reach:
        assert assembled.notes[0].startswith("A: 1 bar reached more than 40% beyond both its close and the one before")


def test_no_rows_give_no_bars():
    """A symbol whose rows are none is empty, not an error."""
    assembled = assemble("A", rows_of(), [], ["pe"])

    assert (assembled.bars.num_rows, assembled.actions.num_rows, assembled.notes) == (0, 0, ())


def test_sample_stocks_get_their_adjustment():
    """Apple 2000-2013 in the sample: two 2:1 splits and three dividends; factor x close follows the adjusted close."""
    path = Path(bokeh_sampledata.__path__[0]) / "_data" / "stocks.csv.gz"
    rows = read_file(path, ReadOptions({}, "{symbol}.csv", date(2013, 3, 1))).bars
    apple = rows.filter(pc.equal(rows["symbol"], "AAPL"))
    bars = assemble("AAPL", apple.append_column("file", pa.array(np.zeros(3270, np.int32))), [str(path)], []).bars
    factor, adjusted = bars["factor"].to_numpy(), apple["adjusted_close"].to_numpy()

    steps = np.flatnonzero(np.diff(factor)) + 1
    assert bars["session"].to_numpy()[steps].astype("datetime64[D]").astype(str).tolist() == [
        "2000-06-21", "2005-02-28", "2012-08-09", "2012-11-07", "2013-02-07",
    ]  # fmt: skip
    np.testing.assert_allclose(bars["close"].to_numpy() * factor * adjusted[0] / 130.31, adjusted, rtol=1e-12)


def test_real_actions_give_the_vendors_adjusted_close(real_files):
    """Of 252 stocks over 21 years 248 get Alpha Vantage's adjusted close to 2e-5; the other 4 are told in a note."""
    options = ReadOptions({}, "DA-{symbol}-T-{date}.csv", date(2021, 4, 21))
    off, noted = set(), set()
    for path in sorted(real_files.glob("*.csv")):
        rows = read_file(path, options).bars
        if rows.num_rows:
            symbol = rows["symbol"][0].as_py()
            file = pa.array(np.zeros(rows.num_rows, np.int32))
            assembled = assemble(symbol, rows.append_column("file", file), [str(path)], [])
            ours = assembled.bars["close"].to_numpy() * assembled.bars["factor"].to_numpy()
            ratio = ours / rows["adjusted_close"].to_numpy()
            off |= {symbol} if np.ptp(ratio / ratio[-1]) > 2e-5 else set()
            noted |= {symbol} if any("disagrees" in note for note in assembled.notes) else set()

    assert off == noted == {"TMUS", "TRMB", "WDC", "ZBRA"}
