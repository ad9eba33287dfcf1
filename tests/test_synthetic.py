from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import date
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pytest

from pipeline.bars.assembly import Assembled, assemble
from pipeline.bars.minutes import extremes
from pipeline.bars.quality import is_symbol, judge
from pipeline.bars.rows import NUMBERS, ROWS
from pipeline.bars.simulator import Market, factors, listing_of, returns_of, traded_sessions
from pipeline.bars.synthetic import instruments, rows_of, survey
from pipeline.bars.us_sessions import us_sessions

MARKET = Market(symbols=150, sessions=2520, seed=7, start=date(2015, 1, 2))
NUMBERS_OF = range(MARKET.symbols)
CENT = 0.005  # currency; half of one, what rounding moves a price by


@pytest.fixture(scope="module")
def rows() -> list[pa.Table]:
    return [rows_of(MARKET, number) for number in NUMBERS_OF]


@pytest.fixture(scope="module")
def assembled(rows) -> list[Assembled]:
    return [
        assemble(
            table["symbol"][0].as_py(), table.append_column("file", pa.array([0] * len(table), pa.int32())), [""], []
        )
        for table in rows
    ]


@pytest.fixture(scope="module")
def returns(assembled) -> pd.DataFrame:
    """Return adjusted log returns, (sessions, symbols), of the symbols with 1,000 bars or more."""
    columns = {}
    for one in assembled:
        bars = one.bars.to_pandas().set_index("session")
        if len(bars) >= 1000:
            columns[bars["symbol"].iloc[0]] = np.log(bars["close"] * bars["factor"]).diff()
    return pd.DataFrame(columns)


def autocorrelation(returns: pd.DataFrame, lag: int) -> float:
    return float(returns.apply(lambda column: column.autocorr(lag)).mean())


def test_a_seed_makes_the_same_market_every_time(rows):
    """The same market gives the same bars, also on several threads at once and in another order."""
    factors.cache_clear()
    with ThreadPoolExecutor(4) as pool:
        again = list(pool.map(lambda number: rows_of(MARKET, number), reversed(NUMBERS_OF)))

    assert again[::-1] == rows


def test_another_seed_makes_another_market(rows):
    """No symbol has the same returns under another seed."""
    other = replace(MARKET, seed=8)

    for number in range(10):
        assert rows_of(other, number)["close"][:5] != rows[number]["close"][:5]
    assert not np.array_equal(factors(other).market, factors(MARKET).market)


def test_more_symbols_leave_the_first_ones_as_they_are(rows):
    """A market of more symbols has the bars and instruments of a smaller one, and further ones after them."""
    larger = replace(MARKET, symbols=400)

    assert [rows_of(larger, number) for number in range(0, MARKET.symbols, 10)] == rows[::10]
    assert instruments(larger)[: MARKET.symbols] == instruments(MARKET)
    assert list(survey(larger).bars_of)[: MARKET.symbols] == list(survey(MARKET).bars_of)


@pytest.mark.parametrize("sessions", [1, 2, 63, 999, 2519])
def test_a_longer_market_begins_like_a_shorter_one(rows, sessions):
    """Symbols listed from the start have the same bars up to the last session of the shorter market."""
    shorter = replace(MARKET, sessions=sessions)
    last = pa.scalar(factors(shorter).days[-1].astype("datetime64[ms]"), ROWS.field("session").type)
    early = [number for number in NUMBERS_OF if listing_of(MARKET, number).listed == 0]

    assert len(early) > MARKET.symbols / 2
    for number in early[::5]:
        expected = rows[number].filter(pc.less_equal(rows[number]["session"], last))
        assert rows_of(shorter, number) == expected


@pytest.mark.parametrize("sessions", [1, 2, 30])
def test_a_market_of_any_length_has_all_of_its_symbols(sessions):
    """However short the market, each symbol has a bar and the survey says how many."""
    market = Market(symbols=40, sessions=sessions, seed=3, start=date(2024, 1, 1))
    made = [rows_of(market, number) for number in range(40)]

    assert all(1 <= len(table) <= sessions for table in made)
    assert [len(table) for table in made] == list(survey(market).bars_of.values())


def test_the_survey_counts_what_is_made(rows):
    """Bars by symbol and bars by session are those of the bars made."""
    counted = survey(MARKET)
    days, bars = np.unique(np.concatenate([table["session"].to_numpy() for table in rows]), return_counts=True)

    assert counted.bars_of == {table["symbol"][0].as_py(): len(table) for table in rows}
    assert np.array_equal(counted.days, days.astype("datetime64[D]"))
    assert np.array_equal(counted.bars, bars)


def test_every_bar_passes_the_gate(rows):
    """No row breaks any rule that rows from files must keep, and symbols ascend with their numbers."""
    names = [table["symbol"][0].as_py() for table in rows]
    for table in rows:
        columns = {name: table[name].to_numpy() for name in NUMBERS if table[name].null_count < len(table)}
        columns["session"] = table["session"].to_numpy().astype("datetime64[D]")
        broken, rules = judge(columns, np.ones(len(table), bool), date(2025, 12, 31))
        assert np.all(broken == len(rules))

    assert all(map(is_symbol, names))
    assert names == sorted(set(names))


def test_bars_are_printed_as_an_exchange_prints_them(rows):
    """Prices and dividends are whole cents, volumes whole shares above 0, sessions ascend."""
    for table in rows:
        for name in ("open", "high", "low", "close", "dividend"):
            cents = table[name].to_numpy() * 100
            assert np.allclose(cents, np.round(cents), rtol=0, atol=1e-6)
        volume = table["volume"].to_numpy()
        assert np.all((volume > 0) & (volume == np.floor(volume)))
        assert np.all(np.diff(table["session"].to_numpy()) > np.timedelta64(0))


def test_no_bar_moves_without_a_reason(assembled):
    """No close moves by half without an action, though heavy tails go beyond 40 %; no duplicate and no conflict."""
    for one in assembled:
        close = one.bars["close"].to_numpy() * one.bars["factor"].to_numpy()
        assert np.all(np.abs(close[1:] / close[:-1] - 1) < 0.5)
    assert [note for one in assembled for note in one.notes if "the close moves by more than 40%" not in note] == []
    assert sum(one.duplicates + len(one.quarantine) for one in assembled) == 0


def test_actions_reproduce_the_factor(rows, assembled):
    """The factor is the product of split x (1 + dividend / close) over the table of actions."""
    for table, one in zip(rows, assembled, strict=True):
        close = dict(zip(table["session"].to_pylist(), table["close"].to_pylist(), strict=True))
        step = {a["ex_date"]: a["split"] * (1 + a["dividend"] / close[a["ex_date"]]) for a in one.actions.to_pylist()}
        factor = np.cumprod([step.get(session, 1.0) for session in close])

        assert np.allclose(one.bars["factor"].to_numpy(), factor, rtol=1e-12)


def test_adjusted_returns_are_continuous_over_actions(assembled):
    """Over splits and dividends too, adjusted closes move by the symbol's total return, but for the cents."""
    checked = 0
    for number, one in enumerate(assembled):
        sessions = traded_sessions(MARKET, listing_of(MARKET, number))
        total, _ = returns_of(MARKET, listing_of(MARKET, number))
        bars = one.bars.to_pandas()
        moved = np.log(bars["close"] * bars["factor"]).diff().to_numpy()
        meant = np.diff(np.cumsum(total)[sessions], prepend=np.nan)
        rounding = 2 * CENT / bars["close"] + CENT / bars["close"].shift() + 1e-9
        free = np.abs(meant) < 0.3  # larger ones are clipped

        assert np.all(np.abs(moved - meant)[free] <= 1.1 * rounding[free])
        checked += len(one.actions)
    assert checked > 1000


def test_splits_come_when_the_price_has_left_its_band(rows):
    """2:1 and 3:2 follow a close above 150, 1:10 one below 5, 20 bars earlier; and each of them occurs."""
    seen = set()
    for table in rows:
        close, split = table["close"].to_numpy(), table["split"].to_numpy()
        for bar in np.flatnonzero(split != 1):
            assert (close[bar - 20] >= 149.99) if split[bar] > 1 else (close[bar - 20] <= 5.01)
            assert np.all(split[max(bar - 19, 0) : bar] == 1)
        seen |= set(split.tolist())

    assert seen == {1.0, 2.0, 1.5, 0.1}


def test_dividends_come_every_quarter(rows):
    """Most symbols pay; a symbol that was never suspended does so every 63 sessions."""
    payers = [table for table in rows if np.any(table["dividend"].to_numpy() > 0)]
    gaps = [
        np.diff(np.flatnonzero(table["dividend"].to_numpy()))
        for number, table in enumerate(rows)
        if len(table) == np.ptp(traded_sessions(MARKET, listing_of(MARKET, number))) + 1
    ]
    gaps = np.concatenate(gaps)

    assert 0.55 < len(payers) / len(rows) < 0.85
    assert len(gaps) > 100
    assert np.mean(gaps == 63) > 0.98  # a dividend of less than half a cent is none


def test_symbols_are_listed_delisted_and_suspended(rows):
    """Instruments agree with the bars, and there are latecomers, delisted symbols and gaps, but not many."""
    days = us_sessions(MARKET.start, MARKET.sessions).astype("datetime64[ms]")
    table = instruments(MARKET).to_pandas()
    gaps = 0
    for listing, bars in zip(table.to_dict("records"), rows, strict=True):
        sessions = bars["session"].to_numpy()
        last = days[-1] if pd.isna(listing["delisted"]) else listing["delisted"].to_datetime64()
        spanned = days[(days >= sessions[0]) & (days <= last)]
        gaps += len(spanned) - len(sessions)
        assert listing["symbol"] == bars["symbol"][0].as_py()
        assert sessions[0] == listing["from"].to_datetime64() == days[0] or sessions[0] == listing["listed"]
        assert sessions[-1] <= last
        assert np.isin(sessions, spanned).all()

    assert 0.1 < table["listed"].notna().mean() < 0.3
    assert 0.1 < table["delisted"].notna().mean() < 0.4
    assert table["to"].equals(table["delisted"])
    assert 0.001 < gaps / survey(MARKET).bars.sum() < 0.02


def test_symbols_that_fail_fall_before_their_end(assembled):
    """A failing symbol loses most of its value in its last 250 sessions, one that is taken over does not."""
    last = {False: [], True: []}
    for number, one in enumerate(assembled):
        listing = listing_of(MARKET, number)
        if listing.delisted - listing.listed > 250 and listing.delisted < MARKET.sessions:
            value = one.bars["close"].to_numpy() * one.bars["factor"].to_numpy()
            last[listing.fails].append(np.log(value[-1] / value[-min(len(value), 250)]))

    assert min(map(len, last.values())) > 5
    assert np.mean(last[True]) < -1
    assert np.mean(last[False]) > -0.4


def test_own_returns_earn_nothing():
    """What is a symbol's own has mean 0 as a simple return, however volatile it is."""
    shared, own = factors(MARKET), []
    for number in NUMBERS_OF:
        listing = listing_of(MARKET, number)
        total, _ = returns_of(MARKET, replace(listing, fails=False))
        own.append(total - listing.beta * shared.market - shared.sectors[:, listing.sector])

    assert np.mean(np.expm1(own)) == pytest.approx(0, abs=7e-5)  # 1.6 % / sqrt(150 x 2,520) is 2.6e-5


def test_returns_have_heavy_tails(returns):
    """Kurtosis is above the normal 3 for every symbol, and far above it for most."""
    kurtosis = returns.kurt() + 3

    assert kurtosis.min() > 3
    assert 5 < kurtosis.median() < 40


def test_tails_are_heavy_within_a_regime_too():
    """Returns divided by their standard deviation have its unit and still are not normal."""
    scaled = []
    for number in range(50):
        total, deviation = returns_of(MARKET, listing_of(MARKET, number))
        scaled.append(total / deviation)
    scaled = pd.Series(np.concatenate(scaled))

    assert 0.9 < scaled.std() < 1.1
    assert scaled.kurt() + 3 > 3.5


def test_sizes_of_returns_cluster_and_their_signs_do_not(returns):
    """|return| is correlated with itself a session and, less, 20 sessions before; the return is not."""
    sizes = returns.abs()

    assert abs(autocorrelation(returns, 1)) < 0.05
    assert autocorrelation(sizes, 1) > 0.08
    assert 0.02 < autocorrelation(sizes, 20) < autocorrelation(sizes, 1)


def test_symbols_move_together(returns):
    """The mean correlation of two symbols is that of shares, and higher within a sector."""
    sectors = np.array([listing_of(MARKET, int(symbol[3:])).sector for symbol in returns.columns])
    correlations = returns.corr(min_periods=500).to_numpy()
    pairs = ~np.eye(len(sectors), dtype=bool)
    same = pairs & (sectors[:, np.newaxis] == sectors)

    assert 0.15 < np.nanmean(correlations[pairs]) < 0.5
    assert np.nanmean(correlations[same]) > np.nanmean(correlations[pairs & ~same]) + 0.03


def test_volatility_has_regimes(returns):
    """Every regime occurs, lasts, and turbulent sessions are far more volatile than calm ones."""
    regime = factors(MARKET).regime[np.isin(factors(MARKET).days, returns.index.to_numpy("datetime64[D]"))]
    sizes = returns.abs().mean(axis=1).to_numpy()
    calm, usual, turbulent = (np.nanmean(sizes[regime == state]) for state in range(3))

    assert turbulent > 1.4 * usual > 1.4 * 1.1 * calm
    assert 20 < len(regime) / (1 + np.count_nonzero(np.diff(regime))) < 200


def test_volume_goes_with_the_size_of_the_return(assembled):
    """Log volume, which is nearly normal, is correlated with |return|."""
    correlations, skews = [], []
    for one in assembled:
        bars = one.bars.to_pandas()
        volume = np.log(bars["volume"] / _shares(one))
        correlations.append(volume.corr(np.log(bars["close"] * bars["factor"]).diff().abs()))
        skews.append(volume.skew())

    assert 0.25 < np.mean(correlations) < 0.75
    assert abs(np.mean(skews)) < 0.8


def test_a_split_multiplies_volume(assembled):
    """Volume grows by the split, since there are so many more shares to trade."""
    growth = []
    for one in assembled:
        bars, shares = one.bars.to_pandas(), _shares(one).to_numpy()
        for bar in np.flatnonzero(np.diff(shares) > 0) + 1:
            around = np.log(bars["volume"].to_numpy()[bar - 20 : bar + 20])
            growth.append((np.mean(around[20:]) - np.mean(around[:20])) / np.log(shares[bar] / shares[bar - 1]))

    assert len(growth) > 20
    assert 0.8 < np.mean(growth) < 1.2


def _shares(one: Assembled) -> pd.Series:
    """Return what a share before the first bar has become, by bar."""
    split = one.actions.to_pandas().set_index("ex_date")["split"]
    return one.bars["session"].to_pandas().map(split).fillna(1).cumprod()


def test_nights_and_days_know_nothing_of_each_other(assembled):
    """A third of the variance falls between close and open, uncorrelated with what follows."""
    nights, days = [], []
    for one in assembled:
        bars = one.bars.to_pandas()
        plain = one.actions.to_pandas().set_index("ex_date").index
        night, day = np.log(bars["open"] / bars["close"].shift()), np.log(bars["close"] / bars["open"])
        kept = ~bars["session"].isin(plain) & night.notna()
        nights.append(night[kept])
        days.append(day[kept])
    nights, days = np.concatenate(nights), np.concatenate(days)

    assert 0.25 < np.var(nights) / (np.var(nights) + np.var(days)) < 0.42
    assert abs(np.corrcoef(nights, days)[0, 1]) < 0.05


def test_ranges_are_those_of_a_brownian_motion():
    """The mean range is sigma x sqrt(8 / pi) (Feller 1951), the mean high sigma x sqrt(2 / pi) above the open."""
    rng, deviation = np.random.default_rng(1), np.full(200_000, 0.01)
    opened = np.full(200_000, 50.0)
    close = opened * np.exp(0.01 * rng.standard_normal(200_000))
    high, low = extremes(opened, close, deviation, rng.standard_exponential((200_000, 2)))

    assert np.mean(np.log(high / low)) == pytest.approx(0.01 * np.sqrt(8 / np.pi), rel=0.01)
    assert np.mean(np.log(high / opened)) == pytest.approx(0.01 * np.sqrt(2 / np.pi), rel=0.01)


def test_sessions_are_those_of_the_nyse():
    """Over 13 years they are the days on which AAPL has bars, and those on which the exchange closed for once."""
    package = Path(find_spec("bokeh_sampledata").origin).parent
    real = np.unique(pd.read_csv(package / "_data" / "stocks.csv.gz")["Date"].to_numpy("datetime64[D]"))
    ours = us_sessions(real[0].item(), 3500)
    closed = ["2001-09-11", "2001-09-12", "2001-09-13", "2001-09-14"]  # the attacks of that week
    closed += ["2004-06-11", "2007-01-02", "2012-10-29", "2012-10-30"]  # mourning twice, hurricane Sandy

    assert np.setdiff1d(ours[ours <= real[-1]], real).astype(str).tolist() == closed
    assert np.isin(real, ours).all()


def test_sessions_begin_on_the_first_one_from_the_start():
    """A start on a holiday or weekend means the next session; Juneteenth is a holiday since 2022."""
    assert us_sessions(date(2022, 6, 18), 2).astype(str).tolist() == ["2022-06-21", "2022-06-22"]
    assert us_sessions(date(2021, 6, 18), 2).astype(str).tolist() == ["2021-06-18", "2021-06-21"]
    assert us_sessions(date(2021, 12, 31), 2).astype(str).tolist() == ["2021-12-31", "2022-01-03"]
