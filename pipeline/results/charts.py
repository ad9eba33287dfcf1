"""The charts of the report: lines over time that zoom, pan and point together, down-sampled without losing a peak.

Colours are mid-tones (Okabe & Ito, safe for colour-blind readers) that can be read on white and on black.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from pipeline.results.returns import drawdown_of

__all__ = ["POINTS", "kept", "linked_charts", "turnover"]

BLUE, ORANGE, GREEN, GREY = "#0072b2", "#d55e00", "#009e73", "#767676"
POINTS = 2_000


def kept(lines: np.ndarray, points: int = POINTS) -> np.ndarray:
    """Choose the sessions to draw, so that every peak and trough of every line stays visible.

    Parameters
    ----------
    lines : array of float, (lines, sessions)
        NaN is never an extreme.
    points : int
        About how many sessions to keep; at least two per line, first and last come on top.

    Returns
    -------
    array of int, ascending, distinct
        All sessions if there are at most `points`, else the first, the last, and the lowest and highest of each line
        in each of ``points / 2 / lines`` equal buckets.
    """
    count, sessions = lines.shape
    if sessions <= points:
        return np.arange(sessions)
    buckets = max(1, points // (2 * count))
    size = -(-sessions // buckets)
    places = np.minimum(np.arange(buckets * size), sessions - 1).reshape(buckets, size)
    row = np.arange(buckets)
    chosen = [np.array([0, sessions - 1])]
    for line in lines:
        bars = line[places]
        chosen.append(places[row, np.where(np.isnan(bars), np.inf, bars).argmin(axis=1)])
        chosen.append(places[row, np.where(np.isnan(bars), -np.inf, bars).argmax(axis=1)])
    return np.unique(np.concatenate(chosen))


def turnover(equity: pd.DataFrame, fills: pd.DataFrame) -> pd.DataFrame:
    """Return the (month, turnover) of every month traded in: half the traded value / the month's mean equity."""
    traded = (fills["quantity"].abs() * fills["price"]).groupby(_month(fills["session"])).sum()
    mean_equity = equity["equity"].groupby(_month(equity["session"])).mean()
    share = traded / 2 / mean_equity.reindex(traded.index)
    return pd.DataFrame({"month": share.index, "turnover": share.to_numpy()})


def _month(sessions: pd.Series) -> pd.Series:
    """Return the first day of the month of each session."""
    return sessions.dt.to_period("M").dt.to_timestamp()


@dataclass(frozen=True)
class Line:
    """One line of a chart: its column, its name in the legend, how it is drawn."""

    column: str
    label: str
    color: str
    dash: str = "solid"


class LinkedCharts:
    """Figures over time that zoom, pan and point together."""

    def __init__(self, sessions: pd.Series) -> None:
        from bokeh.models.annotations.geometry import Span
        from bokeh.models.ranges import Range1d

        margin = max((sessions.iloc[-1] - sessions.iloc[0]) / 100, pd.Timedelta(days=1))
        first, last = sessions.iloc[0] - margin, sessions.iloc[-1] + margin
        self.range = Range1d(first, last, bounds=(first, last))
        self.pointer = Span(dimension="height", line_color=GREY, line_dash="dotted")

    def empty(self, title: str, unit: str, numeral: str, *, flat: float = 0.1, **options: Any) -> Any:
        """Return a figure without glyphs; its title says what it shows, its y axis in which `unit`.

        `flat` is the span of the y axis, in that unit, if all values are the same.
        """
        from bokeh.models import CrosshairTool, NumeralTickFormatter
        from bokeh.plotting import figure

        chart: Any = figure(
            title=title,
            x_range=self.range,
            x_axis_type="datetime",
            y_axis_label=unit,
            sizing_mode="stretch_width",
            tools="xbox_zoom,xpan,xwheel_zoom,reset,save",
            active_drag="xbox_zoom",
            background_fill_alpha=0,
            border_fill_alpha=0,
            outline_line_alpha=0,
            min_border_left=70,
            min_border_right=10,
            **{"height": 200, **options},
        )
        chart.add_tools(CrosshairTool(overlay=self.pointer))
        chart.toolbar.logo = None
        chart.toolbar.autohide = True
        chart.title.text_color = GREY
        chart.grid.grid_line_color, chart.grid.grid_line_alpha = GREY, 0.25
        chart.axis.axis_line_color = chart.axis.major_tick_line_color = chart.axis.minor_tick_line_color = None
        chart.axis.major_label_text_color = chart.axis.axis_label_text_color = GREY
        chart.xaxis.ticker.desired_num_ticks = 5
        chart.y_range.default_span, chart.y_range.only_visible = flat, True
        chart.yaxis.formatter = NumeralTickFormatter(format=numeral)
        return chart

    def lines(self, chart: Any, table: pd.DataFrame, lines: Iterable[Line], numeral: str) -> Any:
        """Draw the down-sampled `lines` of `table` (session, one column per line) with their legend and hover text."""
        from bokeh.models import ColumnDataSource, HoverTool

        lines = tuple(lines)
        columns = [line.column for line in lines]
        shown = table.iloc[kept(table[columns].to_numpy(dtype="float64").T)]
        source = ColumnDataSource({name: shown[name].to_numpy() for name in ("session", *columns)})
        drawn = [
            chart.line(
                "session", line.column, source=source, color=line.color, line_dash=line.dash, line_width=1.6,
                legend_label=line.label,
            )
            for line in lines
        ]  # fmt: skip
        if len(shown) == 1:
            chart.scatter("session", lines[0].column, source=source, color=lines[0].color, size=7)
        tips = [("session", "@session{%F}"), *((line.label, f"@{line.column}{{{numeral}}}") for line in lines)]
        dates: Any = {"@session": "datetime"}
        chart.add_tools(HoverTool(renderers=drawn[:1], tooltips=tips, formatters=dates, mode="vline"))
        legend = chart.legend[0]
        chart.add_layout(legend, "above")
        legend.visible, legend.orientation, legend.click_policy = len(lines) > 1, "horizontal", "hide"
        legend.background_fill_alpha = legend.border_line_alpha = legend.padding = legend.margin = 0
        legend.label_text_color, legend.spacing = GREY, 14
        return chart


def linked_charts(equity: pd.DataFrame, benchmark: pd.DataFrame, fills: pd.DataFrame, cash: float) -> Any:
    """Return equity (linear and log), drawdown, exposure, positions and turnover over one time axis.

    Parameters
    ----------
    equity, benchmark, fills : DataFrame
        As in `Tables`; `equity` has at least one session.
    cash : float [currency]
        What the account and the benchmark start with.

    Returns
    -------
    bokeh model
    """
    from bokeh.layouts import column
    from bokeh.models import TabPanel, Tabs

    charts = LinkedCharts(equity["session"])
    both = (Line("equity", "Equity", BLUE), Line("benchmark", "Benchmark", GREY, "dashed"))
    money = pd.DataFrame(
        {
            "session": equity["session"],
            "equity": equity["equity"],
            "benchmark": benchmark["value"].reindex(equity.index),
        }
    )
    deep = money.assign(**{name: drawdown_of(money[name].to_numpy(), cash) for name in ("equity", "benchmark")})
    panels = []
    for kind in ("linear", "log"):
        flat = cash / 10 if kind == "linear" else 0.1
        chart = charts.empty("Equity and benchmark", "currency", "0.[00]a", flat=flat, height=360, y_axis_type=kind)
        panels.append(TabPanel(title=kind, child=charts.lines(chart, money, both, "0,0.00")))
    falls = charts.lines(charts.empty("Drawdown from the running peak", "%", "0%"), deep, both, "0.00%")
    falls.varea("session", 0, "equity", source=falls.renderers[0].data_source, color=BLUE, fill_alpha=0.2)
    used = (Line("gross_exposure", "Gross", BLUE), Line("net_exposure", "Net", GREEN, "dashed"))
    exposure = charts.lines(charts.empty("Exposure", "% of equity", "0%"), equity, used, "0.00%")
    held = (Line("positions", "Positions", BLUE),)
    positions = charts.lines(charts.empty("Positions held", "symbols", "0,0", flat=2), equity, held, "0,0")
    rows = [Tabs(tabs=panels, sizing_mode="stretch_width"), falls, exposure, positions]
    if len(fills):
        rows.append(turnover_chart(charts, turnover(equity, fills)))
    return column(rows, sizing_mode="stretch_width")


def turnover_chart(charts: LinkedCharts, months: pd.DataFrame) -> Any:
    """Return a bar per month traded in, a little narrower than the month."""
    chart = charts.empty("Turnover per month", "% of mean equity", "0%")
    middle, width = months["month"] + pd.Timedelta(days=15), pd.Timedelta(days=26)
    chart.vbar(middle, width, months["turnover"], color=BLUE)
    return chart
