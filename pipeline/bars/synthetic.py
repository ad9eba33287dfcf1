"""Bars of a made-up market, as a source of `ingest`: any number of symbols, each made where it is needed.

`pipeline.bars.simulator` says how a symbol's value moves; here that becomes bars as an exchange would have printed
them: prices as traded, in cents, that fall by every dividend and jump with every split, and whole shares of volume.

What holds between markets of one seed and start (and one version of NumPy):

* a symbol's bars do not depend on how many other symbols there are;
* a longer market begins with the bars of a shorter one, but for the symbols listed after the first session.
"""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from pipeline.bars.reading import ROWS
from pipeline.bars.simulator import (
    QUARTER,
    SECTORS,
    Listing,
    Market,
    bar_rng,
    factors,
    listing_of,
    returns_of,
    traded_sessions,
)
from pipeline.schema import PRICES

CENT = 0.01
LIMIT = 0.35  # largest log return from bar to bar, 42 % up and 30 % down: no jump without a reason
OVERNIGHT = 1 / 3  # of a session's variance; measured on 252 US shares, 2011-2021
HIGHEST, LOWEST = 150.0, 3.0  # currency; beyond, a company splits its shares or joins ten of them
JOINED = 0.1  # shares after / before
NOTICE = 20  # bars from the one that decides a split to its ex-date
VOLUME_SIZE = 0.2  # growth of log volume per standard deviation of the bar's return ...
VOLUME_TURBULENCE = 0.5  # ... per log of the market's turbulence ...
VOLUME_NOISE = 0.35  # ... and the standard deviation of the rest; ends up as correlated with |return| as those 252


@dataclass(frozen=True)
class Survey:
    """How many bars a market has."""

    rows_of: dict[str, int]  # by symbol, ascending
    days: np.ndarray  # datetime64[D], (sessions,): those with a bar
    rows: np.ndarray  # bars on each of the days


def survey(market: Market) -> Survey:
    """Count a market's bars without making them."""
    rows_of, rows = {}, np.zeros(market.sessions, np.int64)
    for number in range(market.symbols):
        listing = listing_of(market, number)
        sessions = traded_sessions(market, listing)
        rows_of[listing.symbol] = len(sessions)
        rows[sessions] += 1
    return Survey(rows_of, factors(market).days[rows > 0], rows[rows > 0])


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
        whole shares, dividends in cents per new share and splits on their ex-dates, no adjusted close.
    """
    listing = listing_of(market, number)
    sessions = traded_sessions(market, listing)
    columns = _bars(market, listing, sessions)
    count = len(sessions)
    return pa.table(
        {
            "symbol": pa.array([listing.symbol] * count, pa.string()),
            "session": pa.array(factors(market).days[sessions].astype("datetime64[ms]")),
            **{name: pa.array(columns[name]) for name in (*PRICES, "volume")},
            "adjusted_close": pa.nulls(count, pa.float64()),
            "dividend": pa.array(columns["dividend"]),
            "split": pa.array(columns["split"]),
            "line": pa.array(np.arange(1, count + 1)),
        },
        schema=ROWS,
    )


def _bars(market: Market, listing: Listing, sessions: np.ndarray) -> dict[str, np.ndarray]:
    """Return the columns of a symbol's bars on `sessions`."""
    returns, deviations = returns_of(market, listing)
    # after a suspension the first bar catches up with all that has happened meanwhile
    since = np.concatenate([sessions[:1], sessions[:-1] + 1])
    total = np.clip(np.add.reduceat(returns[: sessions[-1] + 1], since), -LIMIT, LIMIT)
    deviation = deviations[sessions]
    rng = bar_rng(market, listing)
    noise = rng.standard_normal((market.sessions, 2))[sessions]
    # drawn so that the moves of night and day, which add up to the return, know nothing of each other
    night = OVERNIGHT * total + np.sqrt(OVERNIGHT * (1 - OVERNIGHT)) * deviation * noise[:, 0]
    paid = np.where(_is_ex_date(listing, sessions), listing.dividend, 0.0)
    value = listing.price * np.exp(np.cumsum(np.log(np.exp(total) - paid)))
    before = np.concatenate([[listing.price], value[:-1]])
    split = _splits(value, listing.split)
    shares = np.cumprod(split)
    opened, close = before * (np.exp(night) - paid) / shares, value / shares
    ...
