"""Random bars, signals and options: gaps, listings, suspensions, extreme prices, every rule of the account."""

from dataclasses import dataclass

import numpy as np
import pandas as pd
from hypothesis import strategies as st

from markets import actions, day, options
from pipeline.modes import CashShort, Fill, MarketName, Rebalance, SizingMethod
from pipeline.options import TradingOptions
from pipeline.schema import STORED

LEVELS = (1e-6, 0.01, 1.0, 10.0, 300.0, 1e6, 1e9)
EXPOSURES = (0.0, 0.0, 0.0, 0.25, 0.5, 1.0, 1.0, -0.5, -1.0)


@dataclass(frozen=True)
class Case:
    """One random market and what is done in it."""

    frame: pd.DataFrame
    symbols: list[str]
    scales: np.ndarray
    signals: pd.DataFrame
    options: TradingOptions
    cuts: tuple[int, ...]
    actions: pd.DataFrame | None = None  # None: the account trades at adjusted prices

    @property
    def more(self) -> dict:
        """The arguments of `markets.run` and `markets.reference` that are not the frame's own."""
        return {"symbols": self.symbols, "scales": self.scales, "actions": self.actions}


def random_bars(rng: np.random.Generator, symbols: int, sessions: int, *, calm: bool = False) -> pd.DataFrame:
    """Return random bars; each symbol has its own level, listing, gaps and factor. `calm` keeps the levels near 10."""
    parts = []
    for number in range(symbols):
        level = rng.uniform(5, 50) if calm else rng.choice(LEVELS)
        close = level * np.exp(np.cumsum(rng.normal(0, 0.05, sessions)))
        open_ = close * np.exp(rng.normal(0, 0.02, sessions))
        high, low = np.maximum(open_, close) * 1.01, np.minimum(open_, close) * 0.99
        volume = np.where(rng.random(sessions) < rng.choice([0.0, 0.3]), 0.0, 1000.0)
        factor = np.cumprod(np.where(rng.random(sessions) < 0.1, rng.uniform(0.5, 3), 1.0))
        session = day(0) + np.arange(sessions) * np.timedelta64(1, "D")
        part = pd.DataFrame(dict(zip(STORED, (open_, high, low, close, volume, factor), strict=True)))
        part.insert(0, "session", session)
        part.insert(0, "symbol", f"S{number}")
        kept = rng.random(sessions) >= rng.choice([0.0, 0.1, 0.5])
        kept[: rng.choice([0, 0, sessions // 2])] = False
        parts.append(part[kept])
    return pd.concat(parts, ignore_index=True)


def random_signals(rng: np.random.Generator, frame: pd.DataFrame, density: float) -> pd.DataFrame:
    """Return signals at a random part of the bars, in random row order."""
    chosen = frame[rng.random(len(frame)) < density].sample(frac=1, random_state=int(rng.integers(2**31)))
    signals = chosen[["symbol", "session"]].astype({"symbol": "category"})
    return signals.assign(signal=rng.choice(EXPOSURES, len(chosen)))


def random_actions(rng: np.random.Generator, symbols: list[str], sessions: int) -> pd.DataFrame:
    """Return splits and dividends, some on days without a bar, paid at once, later or after the end."""
    rows = []
    for number in np.flatnonzero(rng.random(sessions) < 0.2):
        split, dividend = rng.choice([1.0, 2.0, 0.1, 1 / 3, 1.5]), rng.choice([0.0, 0.01, 0.5])
        paid = rng.choice([None, number - 1, number + 1, number + 7])
        rows.append((str(rng.choice(symbols)), int(number), dividend, split, paid and int(paid)))
    return actions(*rows)


@st.composite
def random_options(draw: st.DrawFn) -> TradingOptions:
    """Draw the rules of an account."""
    method = draw(st.sampled_from(list(SizingMethod)))
    value = {
        SizingMethod.VALUE: st.sampled_from([3.0, 2_000.0, 1e7]),
        SizingMethod.SHARES: st.sampled_from([0.5, 1.0, 250.0]),
        SizingMethod.FRACTION: st.sampled_from([0.1, 0.7, 1.0]),
        SizingMethod.RISK: st.sampled_from([0.001, 0.02]),
    }.get(method, st.none())
    costs = st.sampled_from([None, 0.0, 0.0003, 0.1])
    stop = st.sampled_from([None, None, 0.01, 0.05, 0.3])
    return options(
        cash=draw(st.sampled_from([10.0, 10_000.0, 1e6, 1e12])),
        market=draw(st.sampled_from(list(MarketName))),
        lot=draw(st.sampled_from([None, 0, 1, 7, 100])),
        fill=draw(st.sampled_from(list(Fill))),
        sizing={"method": method, "value": draw(value)},
        max_positions=draw(st.sampled_from([None, None, 1, 2])),
        short=draw(st.booleans()),
        commission={
            "rate": draw(costs),
            "minimum": draw(st.sampled_from([None, 1.0, 5.0])),
            "fixed": draw(st.sampled_from([None, 0.35, 9.0])),
        },
        slippage={"rate": draw(st.sampled_from([0.0, 0.001, 0.2]))},
        volume_cap=draw(st.sampled_from([None, None, 0.001, 0.05, 1.0])),
        stops={"loss": draw(stop), "profit": draw(stop), "trailing": draw(stop)},
        orders={
            "valid_sessions": draw(st.sampled_from([1, 1, 2, 5])),
            "cash": draw(st.sampled_from(list(CashShort))),
        },
        rebalance=draw(st.sampled_from([None, None, *Rebalance])),
        delist_after=draw(st.sampled_from([None, None, 1, 3])),
        recovery=draw(st.sampled_from([1.0, 0.3, 0.0])),
    )


@st.composite
def cases(draw: st.DrawFn) -> Case:
    """Draw a market of 2-6 symbols and 5-60 sessions, signals, options, and where to cut it into periods."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    symbols, sessions = draw(st.integers(2, 6)), draw(st.integers(5, 60))
    frame = random_bars(rng, symbols, sessions, calm=draw(st.booleans()))
    while frame.empty:
        frame = random_bars(rng, symbols, sessions)
    signals = random_signals(rng, frame, draw(st.sampled_from([0.05, 0.3, 0.9])))
    count = frame["session"].nunique()
    cuts = tuple(draw(st.lists(st.integers(0, count), max_size=4)))
    scales = rng.choice([1.0, 1.7, 0.03], symbols)
    names = [f"S{number}" for number in range(symbols)]
    happenings = random_actions(rng, names, sessions) if draw(st.booleans()) else None
    return Case(frame, names, scales, signals, draw(random_options()), cuts, happenings)
