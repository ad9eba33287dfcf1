"""Splits and dividends of a store, in the order in which the loop takes them."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from pipeline.bars.parquet import read_parquet
from pipeline.bars.periods import PeriodBars
from pipeline.bars.store import Snapshot
from pipeline.errors import ConfigError
from pipeline.schema import ACTIONS
from pipeline.trading.corporate import ALREADY_PAID, PAID_LATER, PAYS
from pipeline.trading.state import Events

SHOWN = 3  # how many culprits a message names


@dataclass(frozen=True)
class Actions:
    """What happens on ex-dates and pay dates, by day, then symbol; every array is (events,)."""

    day: np.ndarray  # datetime64[D]
    symbol: np.ndarray  # int64, place among the symbols traded
    action: np.ndarray  # int64, one number per row of the table
    split: np.ndarray  # float64, shares after / before
    dividend: np.ndarray  # float64, currency per share after the split
    kind: np.ndarray  # int64
    count: int  # how many actions there are

    def within(self, period: PeriodBars, since: int) -> Events:
        """Return the events of a period; those before `since` belong to earlier ones. A day without bars is late."""
        part = slice(since, int(np.searchsorted(self.day, period.sessions[-1], side="right")))
        time = np.searchsorted(period.day, np.searchsorted(period.sessions, self.day[part]))  # the session's first
        order = np.lexsort((self.kind[part] == PAYS, self.symbol[part], time))
        starts = np.searchsorted(time[order], np.arange(len(period.times) + 1))
        rows = (self.symbol[part], self.action[part], self.split[part], self.dividend[part], self.kind[part])
        return Events(starts, *(values[order] for values in rows))


def actions_of(table: pd.DataFrame, symbols: Sequence[str]) -> Actions:
    """Return the actions of those `symbols` that are traded; `table` has the columns of `pipeline.schema.ACTIONS`."""
    place = pd.Index(list(symbols)).get_indexer(pd.Index(table["symbol"]))
    traded = place >= 0
    place = place[traded].astype(np.int64)
    ex_date, pay_date = (table[name].to_numpy("datetime64[D]")[traded] for name in ("ex_date", "pay_date"))
    split, dividend = (table[name].to_numpy(np.float64)[traded] for name in ("split", "dividend"))
    number = np.arange(len(place))
    later = np.flatnonzero((pay_date > ex_date) & (dividend != 0.0))  # NaT is not
    day = np.concatenate([ex_date, pay_date[later]])
    kind = np.concatenate([np.full(len(place), ALREADY_PAID), np.full(len(later), PAYS)])
    kind[later] = PAID_LATER
    order = np.argsort(day, kind="stable")

    def both(values: np.ndarray) -> np.ndarray:
        return np.concatenate([values, values[later]])[order]

    return Actions(
        day=day[order],
        symbol=both(place),
        action=both(number),
        split=both(split),
        dividend=both(dividend),
        kind=kind[order],
        count=len(place),
    )


NO_ACTIONS = actions_of(ACTIONS.empty_table().to_pandas(), [])
"""Of an account that trades at adjusted prices, which hold them already."""


def read_actions(snapshot: Snapshot, symbols: Sequence[str]) -> Actions:
    """Return the actions of `symbols`.

    Raises
    ------
    ConfigError
        The store's prices are not as traded, or it does not know the actions that its factors show.
    """
    adjustment = snapshot.manifest.ingest["adjustment"]
    if adjustment != "none":
        raise ConfigError(
            f"data.prices: raw, but the prices of the store {snapshot.root} are adjusted for {adjustment}; an account "
            f"at raw prices needs them as traded. Ingest such a source, or take data.prices: adjusted."
        )
    table = read_parquet(snapshot.path(snapshot.manifest.actions)).to_pandas()
    known = set(table["symbol"])
    missing = [symbol for symbol in symbols if symbol not in known and snapshot.by_symbol[symbol].scale != 1.0]
    if missing or table.empty:
        who = ", ".join(map(repr, missing[:SHOWN])) or "any symbol"
        raise ConfigError(
            f"data.prices: raw, but the store {snapshot.root} knows no splits and dividends of {who}; without them an "
            f"account at raw prices is wrong. Ingest a source that has them, or take data.prices: adjusted."
        )
    return actions_of(table, symbols)
