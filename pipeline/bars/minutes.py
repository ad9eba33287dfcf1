"""How a made-up symbol's bars come about within a session: extremes, prices in cents, and the minutes between.

The minutes of a session lead from its open to its close. Their variance and volume are U-shaped over the session (Wood,
McInish & Ord, "An investigation of transactions data for NYSE stocks", Journal of Finance 40 (1985), 723-739), and a
symbol of little volume does not trade in every one of them.
"""

from functools import lru_cache

import numpy as np
import pandas as pd

from pipeline.bars.simulator import OVERNIGHT, Listing, Market, factors, minute_noise_of, returns_of, traded_minutes
from pipeline.schema import PRICES

CENT = 0.01
MINUTES = 390  # of a session, 9:30 to 16:00 in New York
OPENS = np.timedelta64(9 * 60 + 30, "m")
TICKET = 200.0  # shares; a minute in which as many are expected trades with a chance of 1 - 1/e
_X = np.linspace(-1, 1, MINUTES)
SHAPE = (0.4 + 1.8 * _X**2) / (0.4 + 1.8 * _X**2).sum()  # of a session's variance and volume, per minute
NOISE = 0.5  # deviation of the log of a minute's volume


@lru_cache(maxsize=2)
def bar_times(market: Market) -> np.ndarray:
    """Return the ends of the minute bars of every session in UTC, datetime64[ms] (sessions, MINUTES)."""
    opens = pd.DatetimeIndex(factors(market).days + OPENS).tz_localize("America/New_York").tz_convert("UTC")
    return opens.to_numpy("datetime64[ms]")[:, np.newaxis] + np.arange(1, MINUTES + 1).astype("timedelta64[m]")


def traded(market: Market, listing: Listing, sessions: np.ndarray) -> np.ndarray:
    """Return in which minutes of its `sessions` a symbol trades, bool (sessions, MINUTES); the first and last too."""
    present = traded_minutes(market, listing, 1 - np.exp(-listing.volume * SHAPE / TICKET))[sessions]
    present[:, [0, -1]] = True
    return present


def minute_bars(
    market: Market, listing: Listing, sessions: np.ndarray, daily: dict[str, np.ndarray]
) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """Return the minute bars of a symbol, column by column, and which minutes they are, as `traded` has them.

    `daily` are its bars of `sessions`: the minutes open and close where they do, and share their volume; dividends and
    splits come with the first minute.
    """
    present = traded(market, listing, sessions)
    normal, exponential = (draws[sessions].astype(np.float64) for draws in minute_noise_of(market, listing, MINUTES))
    deviation = np.sqrt(1 - OVERNIGHT) * returns_of(market, listing)[1][sessions, np.newaxis] * np.sqrt(SHAPE)
    walk, part = np.cumsum(deviation * normal[:, :, 0], axis=1), np.cumsum(SHAPE)
    opened, closed = np.log(daily["open"])[:, np.newaxis], np.log(daily["close"])[:, np.newaxis]
    path = opened + part * (closed - opened) + walk - part * walk[:, -1:]  # a bridge
    prices = np.where(present, np.exp(path), np.nan)
    close = pd.DataFrame(prices).ffill(axis=1).to_numpy()
    first = np.concatenate([daily["open"][:, np.newaxis], close[:, :-1]], axis=1)[present]
    last, spread = close[present], np.broadcast_to(deviation, close.shape)[present]
    high, low = extremes(first, last, spread, exponential[present])
    shares = np.where(present, SHAPE * np.exp(NOISE * normal[:, :, 1]), 0.0)
    volume = daily["volume"][:, np.newaxis] * shares / shares.sum(axis=1, keepdims=True)
    once = np.zeros(present.shape, bool)
    once[:, 0] = True
    return {
        **printed(first, high, low, last),
        "volume": np.ceil(volume[present]),
        "dividend": np.where(once, daily["dividend"][:, np.newaxis], 0.0)[present],
        "split": np.where(once, daily["split"][:, np.newaxis], 1.0)[present],
    }, present


def extremes(
    opened: np.ndarray, close: np.ndarray, deviation: np.ndarray, exponential: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Return the high and the low of bars, each distributed as that of a Brownian motion that ends at the close.

    The highest log price of a bridge from 0 to x of variance s^2 is (x + sqrt(x^2 + 2 s^2 E)) / 2, where E is a
    standard exponential draw (McLeish, "Highs and lows: some properties of the extremes of a diffusion and
    applications in finance", Canadian Journal of Statistics 30 (2002), 243-267).
    """
    move = np.log(close / opened)
    reach = np.sqrt(move[:, np.newaxis] ** 2 + 2 * (deviation**2)[:, np.newaxis] * exponential)
    return opened * np.exp((move + reach[:, 0]) / 2), opened * np.exp((move - reach[:, 1]) / 2)


def printed(opened: np.ndarray, high: np.ndarray, low: np.ndarray, close: np.ndarray) -> dict[str, np.ndarray]:
    """Return prices in whole cents, one at least, the extremes at or beyond open and close."""
    prices = [np.maximum(np.round(price, 2), CENT) for price in (opened, high, low, close)]
    return dict(zip(PRICES, prices, strict=True))
