"""Bars of a made-up market, as a source of `ingest`: any number of symbols, each made where it is needed.

`pipeline.bars.simulator` says how a symbol's value moves; here that becomes bars as an exchange would have printed
them: prices as traded, in cents, that fall by every dividend and jump with every split, and whole shares of volume.

What holds between markets of one seed and start (and one version of NumPy):

* a symbol's bars do not depend on how many other symbols there are;
* a longer market begins with the bars of a shorter one, but for the symbols listed after the first session.
"""

from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from pipeline.bars.minutes import bar_times, extremes, minute_bars, printed, traded
from pipeline.bars.rows import ROWS
from pipeline.bars.simulator import (
    OVERNIGHT,
    QUARTER,
    Listing,
    Market,
    factors,
    listing_of,
    noise_of,
    returns_of,
    traded_sessions,
)
from pipeline.modes import Frequency
from pipeline.schema import INSTRUMENTS, MOMENT

LIMIT = 0.35  # largest log return from bar to bar, 42 % up and 30 % down: no jump without a reason
HIGHEST = 150.0  # currency; above, a company splits its shares
LOWEST = 5.0  # currency; below, it joins them, or they would be penny stocks (17 CFR 240.3a51-1)
JOINED = 0.1  # shares after / before
NOTICE = 20  # bars from the one that decides a split to its ex-date
VOLUME_SIZE = 0.5  # volume goes with about this power of the size of the return (Karpoff, JFQA 22 (1987), 109-126) ...
VOLUME_NOISE = 0.35  # ... times a log-normal of this deviation


@dataclass(frozen=True)
class Survey:
    """How many bars a market has."""

    bars_of: dict[str, int]  # by symbol, ascending
    days: np.ndarray  # datetime64[D], (sessions,): those with a bar
    bars: np.ndarray  # on each of the days


def survey(market: Market) -> Survey:
    """Count a market's bars without making them."""
    bars_of, bars = {}, np.zeros(market.sessions, np.int64)
    for number in range(market.symbols):
        listing = listing_of(market, number)
        sessions = traded_sessions(market, listing)
        counts = traded(market, listing, sessions).sum(axis=1) if market.frequency is Frequency.MINUTE else 1
        bars[sessions] += counts
        bars_of[listing.symbol] = int(np.sum(counts)) if np.ndim(counts) else len(sessions)
    return Survey(bars_of, factors(market).days[bars > 0], bars[bars > 0])


def instruments(market: Market) -> pa.Table:
    """Return since when and until when each symbol of a market is listed, as `INSTRUMENTS`."""
    listings = [listing_of(market, number) for number in range(market.symbols)]
    days = factors(market).days.astype("datetime64[ms]")
    listed = np.array([listing.listed for listing in listings])
    delisted = np.array([listing.delisted for listing in listings])
    first, last = days[listed], days[np.minimum(delisted, market.sessions - 1)]
    outlives = delisted >= market.sessions
    columns = [
        pa.array([listing.symbol for listing in listings]),
        pa.array(first),
        pa.array(last, mask=outlives),
        pa.array(first, mask=listed == 0),
        pa.array(last, mask=outlives),
    ]
    return pa.table(columns, schema=INSTRUMENTS)


def rows_of(market: Market, number: int) -> pa.Table:
    """Return the bars of a market's symbol as a file of them would be read.

    Parameters
    ----------
    market : Market
        Which market.
    number : int
        Which symbol, from 0.

    Returns
    -------
    Table, (bars,)
        `pipeline.bars.reading.ROWS`, sessions ascending: prices as traded, in cents [currency per share], volume in
        whole shares, dividends in cents [currency per share of that session] and splits on their ex-dates;
        nothing that would say the same again.
    """
    listing = listing_of(market, number)
    sessions = traded_sessions(market, listing)
    bars = _bars(market, listing, sessions)
    days = factors(market).days[sessions].astype("datetime64[ms]")
    times = days
    if market.frequency is Frequency.MINUTE:
        bars, present = minute_bars(market, listing, sessions, bars)
        times = bar_times(market)[sessions][present]
        days = np.repeat(days, present.sum(axis=1))
    count = len(days)
    columns = {
        "symbol": pa.repeat(pa.scalar(listing.symbol), count),
        "session": pa.array(days),
        "time": pa.array(times).cast(MOMENT),
        "line": pa.array(np.arange(1, count + 1)),
        **{name: pa.array(values) for name, values in bars.items()},
    }
    unknown = pa.nulls(count, pa.float64())
    return pa.table({name: columns.get(name, unknown) for name in ROWS.names}, schema=ROWS)


def _bars(market: Market, listing: Listing, sessions: np.ndarray) -> dict[str, np.ndarray]:
    """Return prices, volume, dividend and split of a symbol's bars on `sessions`, (bars,) each."""
    returns, deviations = returns_of(market, listing)
    since = np.concatenate([sessions[:1], sessions[:-1] + 1])  # a bar after a suspension catches up with all of it
    total = np.clip(np.add.reduceat(returns[: sessions[-1] + 1], since), -LIMIT, LIMIT)
    deviation = deviations[sessions]
    normal, exponential = (draws[sessions] for draws in noise_of(market, listing))
    # a share of the return and a bridge: the moves of night and day add up to it and know nothing of each other
    night = OVERNIGHT * total + np.sqrt(OVERNIGHT * (1 - OVERNIGHT)) * deviation * normal[:, 0]
    paid = _yields(listing, sessions)
    value = listing.price * np.cumprod(np.exp(total) - paid)  # of what was a share before the first bar
    before = np.concatenate([[listing.price], value[:-1]])
    split = _splits(value, listing.split)
    shares = np.cumprod(split)
    opened, close = before * (np.exp(night) - paid) / shares, value / shares
    high, low = extremes(opened, close, np.sqrt(1 - OVERNIGHT) * deviation, exponential)
    size = (1 + np.abs(total) / listing.volatility) ** VOLUME_SIZE
    return {
        **printed(opened, high, low, close),
        "volume": np.ceil(listing.volume * shares * size * np.exp(VOLUME_NOISE * normal[:, 1])),
        "dividend": np.round(paid * before / shares, 2),
        "split": split,
    }


def _yields(listing: Listing, sessions: np.ndarray) -> np.ndarray:
    """Return what each bar's share is paid, as a fraction of the close before; an ex-date is moved to the next bar."""
    yields = np.zeros(len(sessions))
    ex_dates = np.arange(listing.ex_session, sessions[-1] + 1, QUARTER)
    yields[np.searchsorted(sessions, ex_dates[ex_dates > sessions[0]])] = listing.dividend
    return yields


def _splits(value: np.ndarray, forward: float) -> np.ndarray:
    """Return each bar's split, shares after / before.

    A close beyond the band makes the company announce one, which comes `NOTICE` bars later; until then it announces
    no other.
    """
    split = np.ones(len(value))
    shares, last = 1.0, 0
    while True:
        price = value[last:] / shares
        outside = np.flatnonzero((price > HIGHEST) | (price < LOWEST))
        if not len(outside) or last + outside[0] + NOTICE >= len(value):
            return split
        ratio = forward if price[outside[0]] > HIGHEST else JOINED
        last += int(outside[0]) + NOTICE
        split[last] = ratio
        shares *= ratio
