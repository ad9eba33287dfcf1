"""The architecture that this replaces, written from its description.

On every session a thread pool calls a pandas strategy for every stock on the history so far, and orders go through a
portfolio of dicts. ``origin.py`` times it, and every step away from it.
"""

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from time import perf_counter

import numpy as np
import pandas as pd

THREADS = 4  # of the pool

Bars = Mapping[str, pd.DataFrame]  # symbol -> open and close on the index `session`
Opinion = Callable[[pd.DataFrame], float]


def sma_cross(history: pd.DataFrame) -> float:
    """Return the opinion after the last bar, as a pandas strategy of the origin does: averages of the whole history."""
    fast, slow = history.close.rolling(10).mean(), history.close.rolling(30).mean()
    return float(fast.iloc[-1] > slow.iloc[-1]) if len(history) >= 30 else np.nan


@dataclass
class Portfolio:
    """The origin's account: dicts, one order at a time, filled at the next open."""

    cash: float = 10_000_000.0
    held: dict[str, float] = field(default_factory=dict)
    wanted: dict[str, float] = field(default_factory=dict)  # opinions that wait for an open
    before: dict[str, float] = field(default_factory=dict)
    fills: int = 0
    equity: list[float] = field(default_factory=list)
    last: dict[str, float] = field(default_factory=dict)  # closes

    def open(self, bars: Bars, day: pd.Timestamp) -> None:
        for symbol, wanted in list(self.wanted.items()):
            price = bars[symbol].open.get(day)
            del self.wanted[symbol]
            if price is None:
                continue
            if not wanted and symbol in self.held:
                self.cash += self.held.pop(symbol) * price * 0.999
                self.fills += 1
            elif wanted and symbol not in self.held and (shares := 20_000 // price) * price * 1.001 <= self.cash:
                self.cash -= shares * price * 1.001
                self.held[symbol] = shares
                self.fills += 1

    def close(self, bars: Bars, day: pd.Timestamp, opinions: Mapping[str, float]) -> None:
        for symbol, frame in bars.items():
            price = frame.close.get(day)
            if price is not None:
                self.last[symbol] = price
        self.equity.append(self.cash + sum(shares * self.last[symbol] for symbol, shares in self.held.items()))
        for symbol, opinion in opinions.items():
            if not np.isnan(opinion) and opinion != self.before.get(symbol, 0.0):
                self.wanted[symbol] = self.before[symbol] = opinion


def by_session(
    bars: Bars, days: Sequence[pd.Timestamp], opinion: Opinion
) -> tuple[float, dict[tuple[str, pd.Timestamp], float]]:
    """Return the seconds that some sessions take, and the opinions on each stock in them."""
    portfolio, seen = Portfolio(), {}
    began = perf_counter()
    with ThreadPoolExecutor(THREADS) as pool:
        for day in days:
            portfolio.open(bars, day)
            answers = pool.map(lambda frame, day=day: asked(opinion, frame, day), bars.values())
            opinions = dict(zip(bars, answers, strict=True))
            portfolio.close(bars, day, opinions)
            seen |= {(symbol, day): value for symbol, value in opinions.items()}
    return perf_counter() - began, seen


def asked(opinion: Opinion, frame: pd.DataFrame, day: pd.Timestamp) -> float:
    history = frame.loc[:day]
    return opinion(history) if len(history) else np.nan


def in_threads(bars: Bars, signal: Callable[[pd.DataFrame], object]) -> float:
    """Return the seconds of a thread pool that asks for every stock once, for its whole history."""
    began = perf_counter()
    with ThreadPoolExecutor(THREADS) as pool:
        list(pool.map(signal, bars.values()))
    return perf_counter() - began


def by_dicts(bars: Bars, days: Sequence[pd.Timestamp], changes: pd.DataFrame) -> tuple[float, Portfolio]:
    """Return the seconds of the loop over signals that are there already."""
    portfolio = Portfolio()
    began = perf_counter()
    told = {day: dict(zip(some["symbol"], some["signal"], strict=True)) for day, some in changes.groupby("session")}
    for day in days:
        portfolio.open(bars, day)
        portfolio.close(bars, day, told.get(day, {}))
    return perf_counter() - began, portfolio
