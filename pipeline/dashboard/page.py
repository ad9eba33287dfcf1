"""The page ``/backtest`` of Dask's dashboard: a document per viewer, drawn again twice a second while runs tell more.

It follows the newest run until the viewer chooses one. Bokeh is imported when the first page opens, not before.
"""

from typing import Any

from pipeline.dashboard import words
from pipeline.dashboard.runs import Run
from pipeline.dashboard.style import PARTS, TEMPLATE

PERIOD = 500  # milliseconds between two drawings
POINTS = 1_000  # of a line, at most twice as many
DAY = 86_400_000  # milliseconds
LISTED = 8  # runs
NEWEST = ""
LEAST_DRAWDOWN = -0.05  # that its chart has room for
OVER = 'cb_data.connection.deref()?.close(); document.body.classList.add("over")'
BLUE, ORANGE, GREY = "#2b8cc4", "#d9722e", "#7b858e"  # seen by day and by night


class View:
    """What one viewer sees."""

    def __init__(self, watched: Any) -> None:
        """Draw nothing yet; `watched` is the plugin, which knows the runs, their tasks, the workers and the time."""
        from bokeh.layouts import column
        from bokeh.models import ColumnDataSource, InlineStyleSheet, Range1d
        from bokeh.models.widgets import Div, Select

        self.watched = watched
        sheet = InlineStyleSheet(css=PARTS)
        names = ("overview", "strip", "tiles", "states", "workers", "messages")
        self.parts: dict[str, Any] = {
            name: Div(sizing_mode="stretch_width", stylesheets=[sheet], name=name) for name in names
        }
        self.choice: Any = Select(options=[], value=NEWEST, stylesheets=[sheet], width=420, visible=False)
        self.source = ColumnDataSource({"session": [], "equity": [], "drawdown": []})
        self.drawn = ("", -1)
        self.shown = ("", "")  # run and state that were drawn last
        self.stop: Any = lambda: None  # drawing
        self.span = Range1d(start=0, end=DAY)
        self.root = column(
            self.parts["overview"],
            self.choice,
            *(self.parts[name] for name in ("strip", "tiles")),
            *self._charts(),
            *(self.parts[name] for name in ("states", "workers", "messages")),
            sizing_mode="stretch_width",
            styles={"max-width": "1200px", "margin": "0 auto"},
        )

    def update(self) -> None:
        """Draw what is new."""
        now, runs = self.watched.now(), self.watched.runs.newest_first()
        options = [(NEWEST, "the newest run"), *((run.run, _label(run)) for run in runs)]
        if options != self.choice.options:
            self.choice.update(options=options, visible=len(runs) > 1)
        run = next((run for run in runs if run.run == self.choice.value), runs[0] if runs else None)
        if run is None:
            self._say(
                overview='<p class="soft">No run has told of itself yet. Start one with scheduler.dashboard=true.</p>'
            )
            return
        self._say(
            overview=words.overview(runs[:LISTED], now, run.run),
            strip=words.strip(run),
            tiles=words.tiles(run, now),
            states=f"<h2>Partitions by state</h2>{words.states(run, self.watched.tasks(run))}",
            workers=f"<h2>Workers</h2>{words.workers(self.watched.workers())}",
            messages=words.messages(run),
        )
        self._draw(run)
        self.shown = run.run, run.state

    def _say(self, **texts: str) -> None:
        for name, text in texts.items():
            if self.parts[name].text != text:
                self.parts[name].text = text

    def _draw(self, run: Run) -> None:
        if self.drawn == (run.run, len(run.equity)):
            return
        self.drawn = (run.run, len(run.equity))
        places = kept(run.equity, POINTS)
        self.source.data = {
            "session": [run.sessions[place] * DAY for place in places],
            "equity": [run.equity[place] for place in places],
            "drawdown": [run.drawdown[place] for place in places],
        }
        first, last = run.span
        self.span.update(start=first * DAY, end=last * DAY + DAY)
        _fit(self.equity.y_range, [run.cash, *run.equity])
        _fit(self.drawdown.y_range, [0.0, LEAST_DRAWDOWN, *run.drawdown])

    def _charts(self) -> list[Any]:
        from bokeh.models import NumeralTickFormatter

        self.equity = _chart("Equity", "currency", self.span, 260, NumeralTickFormatter(format="0,0"))
        self.equity.line("session", "equity", source=self.source, color=BLUE, line_width=1.6)
        self.drawdown = _chart("Drawdown", "from the peak", self.span, 150, NumeralTickFormatter(format="0.0 %"))
        self.drawdown.varea("session", 0, "drawdown", source=self.source, color=ORANGE, alpha=0.45)
        return [self.equity, self.drawdown]


def _fit(axis: Any, values: list[float]) -> None:
    """Have an axis show all values, with some air; ranges that Bokeh finds by itself complain of empty charts."""
    low, high = min(values), max(values)
    air = (high - low) / 20 or abs(high) / 20 or 1e-3
    axis.update(start=low - air, end=high + air)


def _label(run: Run) -> str:
    return f"{run.began[11:19]}  {run.name}  {run.strategy}  {run.state}  #{run.run[:4]}"


def _chart(title: str, unit: str, span: Any, height: int, formatter: Any) -> Any:
    from bokeh.models import Range1d
    from bokeh.plotting import figure

    chart: Any = figure(
        title=title,
        x_range=span,
        y_range=Range1d(start=0, end=1),
        x_axis_type="datetime",
        y_axis_label=unit,
        height=height,
        sizing_mode="stretch_width",
        tools="",
        toolbar_location=None,
        background_fill_alpha=0,
        border_fill_alpha=0,
        outline_line_alpha=0,
        min_border_left=96,
        min_border_right=28,
    )
    chart.title.text_color = chart.axis.major_label_text_color = chart.axis.axis_label_text_color = GREY
    chart.axis.axis_line_color = chart.axis.major_tick_line_color = chart.axis.minor_tick_line_color = None
    chart.grid.grid_line_color, chart.grid.grid_line_alpha = GREY, 0.25
    chart.yaxis.formatter = formatter
    chart.yaxis.axis_label_text_font_style = "normal"
    return chart


def kept(line: list[float], points: int) -> list[int]:
    """Choose which places of a line to draw: all, or the lowest and highest of equal stretches, and the last."""
    if len(line) <= 2 * points:
        return list(range(len(line)))
    size = -(-len(line) // points)
    chosen = {len(line) - 1}
    for start in range(0, len(line), size):
        stretch = range(start, min(start + size, len(line)))
        chosen |= {min(stretch, key=line.__getitem__), max(stretch, key=line.__getitem__)}
    return sorted(chosen)


def document(watched: Any, extra: dict[str, Any], doc: Any) -> None:
    """Fill the document of one viewer; `extra` is what Dask's own pages get: the navigation bar."""
    from bokeh.models import CustomJS
    from distributed.dashboard.components.scheduler import env

    view = View(watched)
    view.update()
    watched.views.append(view)
    doc.on_session_destroyed(lambda _: watched.views.remove(view))
    if watched.ends:  # nobody is there to connect to again
        doc.config.update(reconnect_session=False, notify_connection_status=False)
        doc.js_on_event("connection_lost", CustomJS(code=OVER))
    doc.title = "Dask: Backtest"
    doc.add_root(view.root)
    drawing = doc.add_periodic_callback(view.update, PERIOD)
    view.stop = lambda: doc.remove_periodic_callback(drawing)
    doc.template = env.from_string(TEMPLATE)
    doc.template_variables.update(extra)
