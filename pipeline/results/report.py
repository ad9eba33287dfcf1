"""A run on one page: numbers, charts and tables in a single HTML file that needs no network.

The template is ``report.html.j2`` beside this file. Whatever came from files or users is escaped by Jinja2, by
BokehJS, or as JSON inside a data block; should anything slip through, the page's Content-Security-Policy still runs
no script but ours, which it names by sha256, and loads nothing from anywhere.
"""

import hashlib
import math
from base64 import b64encode
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import yaml

from pipeline.results import bokehjs, charts, costs
from pipeline.results.bokehjs import Column
from pipeline.results.metrics import METRICS, endings, why_none
from pipeline.results.returns import drawdown_of, episodes_of, returns_of
from pipeline.results.tables import Tables
from pipeline.schema import Reason, Status
from pipeline.words import counted

__all__ = ["page"]

TEMPLATE = Path(__file__).with_name("report.html.j2")
MOST_TRADES, MOST_ORDERS, MOST_DRAWDOWNS, MOST_NOTES = 5_000, 500, 5, 20
SHOWN_FIRST = ("final_equity", "total_return", "annual_return", "volatility", "sharpe", "max_drawdown")
ADJUSTED = {"none": "as traded", "splits": "adjusted for splits", "all": "adjusted for splits and dividends"}
FORMATS = {"fraction": ",.2%", "currency": ",.2f", "count": ",.0f", "sessions": ",.4g", "calendar days": ",.0f"}
WHY: dict[str, str] = {
    Reason.CASH: "not enough cash for all or any of it",
    Reason.LOT: "less than one lot",
    Reason.NO_BAR: "no bar while the order was valid",
    Reason.VOLUME: "the bar's volume was zero, or the part of it that may be traded too small",
    Reason.MAX_POSITIONS: "as many symbols were held as may be",
    Reason.RISK: "the average true range was not known yet, or zero",
    Reason.SUPERSEDED: "the opinion changed, or a stop closed the position, first",
    Reason.DELISTED: "no bar came any more",
    Reason.END_OF_DATA: "the data ended first",
}
LOADER = """
const touch = matchMedia("(pointer: coarse)").matches;
const calm = (key, value) => {  // a finger on a chart scrolls the page
  if (touch && value?.name === "Toolbar") value.attributes.active_drag = null;
  return value;
};
for (const item of JSON.parse(document.getElementById("charts").textContent, calm)) Bokeh.embed.embed_item(item);
"""
TRADES = (
    Column("symbol", "Symbol", "text", 75),
    Column("entry_session", "Entry", "session", 90),
    Column("exit_session", "Exit", "session", 90),
    Column("quantity", "Shares", "shares", 75),
    Column("entry_price", "Entry price [currency]", "price", 155),
    Column("exit_price", "Exit price [currency]", "price", 148),
    Column("pnl", "Net pnl [currency]", "money", 130),
    Column("return", "Return [%]", "fraction", 85),
    Column("sessions_held", "Held [sessions]", "count", 112),
    Column("exit_reason", "Exit reason", "text", 95),
)
SYMBOLS = (
    Column("symbol", "Symbol", "text", 90),
    Column("pnl", "Net pnl [currency]", "money", 150),
    Column("share", "Of starting cash [%]", "fraction", 150),
    Column("closed", "Closed trades", "count", 110),
    Column("still_open", "Open trades", "count", 100),
    Column("won", "Win rate [%]", "fraction", 110),
    Column("best", "Best trade [currency]", "money", 160),
    Column("worst", "Worst trade [currency]", "money", 160),
)
ORDERS = (
    Column("signal_session", "Signal", "session", 95),
    Column("session", "Ended", "session", 95),
    Column("symbol", "Symbol", "text", 90),
    Column("wanted", "Wanted exposure [%]", "fraction", 150),
    Column("quantity", "Shares asked", "shares", 120),
    Column("filled", "Shares filled", "shares", 120),
    Column("status", "Status", "text", 90),
    Column("reason", "Reason", "text", 110),
)


def page(run: Mapping[str, Any], tables: Tables, metrics: Mapping[str, float | None]) -> str:
    """Return the report of a run as one self-contained HTML document.

    Parameters
    ----------
    run : mapping
        The content of ``run.json``.
    tables : Tables
        What the run left; at least one session of equity.
    metrics : mapping of metric name to value, None for undefined
        As `metrics.summary` gives it.
    """
    cash = float(run["config"]["trading"]["cash"])
    trades = largest(tables.trades)
    unfilled = tables.orders[tables.orders["status"] != Status.FILLED.value]
    models = {
        "chart-time": charts.linked_charts(tables.equity, tables.benchmark, tables.fills, cash),
        "table-trades": bokehjs.sortable_table(trades, TRADES),
        "table-symbols": bokehjs.sortable_table(contribution(tables.trades, cash), SYMBOLS),
        "table-orders": bokehjs.sortable_table(unfilled.head(MOST_ORDERS), ORDERS),
    }
    known = {metric.name: metric for metric in METRICS}
    scripts = [*bokehjs.scripts(), LOADER]
    return template().render(
        run=run,
        config=yaml.safe_dump(dict(run["config"]), sort_keys=False, allow_unicode=True),
        metrics=[(metric, metrics.get(metric.name), why_none(metric.name, metrics)) for metric in METRICS],
        not_annualised=why_none("annual_return", metrics),
        headline=[(known[name], metrics.get(name)) for name in SHOWN_FIRST],
        notes=(run["snapshot"]["notes"][:MOST_NOTES], len(run["snapshot"]["notes"])),
        sessions=tables.equity["session"],
        points=charts.POINTS,
        years=calendar(tables, cash),
        drawdowns=deepest_drawdowns(tables.equity, cash),
        trades=(len(trades), len(tables.trades)),
        realised=float(tables.trades["pnl"].sum()),
        gained=float(tables.equity["equity"].iloc[-1]) - cash,
        unfilled=(min(len(unfilled), MOST_ORDERS), len(unfilled), len(tables.orders)),
        reasons=reasons_of(unfilled),
        monitor=run.get("monitor"),
        stages=costs.stage_rows(run),
        lanes=costs.lanes(run),
        adjusted=ADJUSTED,
        traffic=costs.traffic(run),
        charts=bokehjs.data_block(models),
        scripts=scripts,
        hashes=" ".join(f"'sha256-{b64encode(hashlib.sha256(text.encode()).digest()).decode()}'" for text in scripts),
    )


def template() -> Any:
    """Return the page's template: it escapes all values, and a missing one is an error."""
    from jinja2 import Environment, StrictUndefined

    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    environment.filters["shown"] = shown
    environment.filters["counted"] = counted
    return environment.from_string(TEMPLATE.read_text(encoding="utf-8"))


def shown(value: float | None, unit: str) -> str:
    """Return `value` as text in the way of its unit; ``n/a`` where it is undefined.

    >>> shown(0.1234, "fraction"), shown(1234.5, "currency"), shown(None, "ratio")
    ('12.34%', '1,234.50', 'n/a')
    """
    if value is None or not math.isfinite(value):
        return "n/a"
    return format(value, FORMATS.get(unit.removesuffix(" per year"), ",.3f"))


def largest(trades: pd.DataFrame) -> pd.DataFrame:
    """Return the trades that gained or lost most, at most `MOST_TRADES`, largest first."""
    return trades.sort_values("pnl", key=np.abs, ascending=False, kind="stable").head(MOST_TRADES)


def contribution(trades: pd.DataFrame, cash: float) -> pd.DataFrame:
    """Return what each symbol's closed trades gained or lost, best first; a symbol only held has 0 of them."""
    pnl, known = trades["pnl"], trades["pnl"].notna()
    facts = pd.DataFrame({"pnl": pnl, "won": (pnl > 0).astype("float64").where(known), "still_open": ~known})
    table = facts.groupby(trades["symbol"].astype("object"), sort=True).agg(
        pnl=("pnl", "sum"),
        closed=("pnl", "count"),
        still_open=("still_open", "sum"),
        won=("won", "mean"),
        best=("pnl", "max"),
        worst=("pnl", "min"),
    )
    table["share"] = table["pnl"] / cash
    return table.sort_values("pnl", ascending=False, kind="stable").rename_axis("symbol").reset_index()


def reasons_of(orders: pd.DataFrame) -> list[tuple[str, str, int, str]]:
    """Return (status, reason, count, meaning) of `orders`, most frequent first."""
    rows = [(how, why, count) for how, reasons in endings(orders).items() for why, count in reasons.items()]
    return [(*row, WHY.get(row[1], "")) for row in sorted(rows, key=lambda row: -row[2])]


def calendar(tables: Tables, cash: float) -> list[dict[str, Any]]:
    """Return per year the returns of its months and of the whole, the benchmark's too, as fractions; newest last."""
    sessions = tables.equity["session"]
    months = _returns_by(sessions.dt.to_period("M"), tables.equity["equity"], cash)
    years = _returns_by(sessions.dt.year, tables.equity["equity"], cash)
    benchmark = _returns_by(sessions.dt.year, tables.benchmark["value"].reindex(tables.equity.index), cash)
    scale = max(float(months.abs().quantile(0.95)), 1e-9)

    def cell(value: float) -> dict[str, Any]:
        return {"value": value, "heat": round(0.6 * min(abs(value) / scale, 1), 3)}

    return [
        {
            "year": year,
            "months": [cell(months.get(pd.Period(year=year, month=month, freq="M"), np.nan)) for month in range(1, 13)],
            "total": years[year],
            "benchmark": benchmark[year],
        }
        for year in years.index
    ]


def deepest_drawdowns(equity: pd.DataFrame, cash: float) -> list[dict[str, Any]]:
    """Return the deepest falls: depth, the sessions of peak, trough and recovery (None: start, not yet), length."""
    fallen, sessions = drawdown_of(equity["equity"].to_numpy(np.float64), cash), equity["session"]
    episodes = sorted(episodes_of(fallen), key=lambda episode: episode.depth)[:MOST_DRAWDOWNS]
    return [
        {
            "depth": episode.depth,
            "peak": sessions.iloc[episode.peak] if episode.peak >= 0 else None,
            "trough": sessions.iloc[episode.peak + 1 + int(fallen[episode.peak + 1 : episode.end + 1].argmin())],
            "recovery": sessions.iloc[episode.end] if fallen[episode.end] == 0 else None,
            "sessions": episode.end - episode.peak,
        }
        for episode in episodes
    ]


def _returns_by(period: pd.Series, values: pd.Series, start: float) -> pd.Series:
    """Return the simple return of each period: its last value over that of the period before, or over `start`."""
    last = values.groupby(period.to_numpy()).last()
    return pd.Series(returns_of(last.to_numpy(np.float64), start), index=last.index)
