"""BokehJS in a page: the library itself, models as inert data, and tables that sort.

Nothing here needs ``unsafe-eval``: no custom JavaScript, no HTML templates in cells, text stays text.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import pandas as pd

__all__ = ["Column", "data_block", "scripts", "sortable_table"]

ROW_HEIGHT, VISIBLE_ROWS = 25, 16
NUMERALS = {"money": "0,0.00", "price": "0,0.0000", "fraction": "0.00%", "count": "0,0", "shares": "0,0.[000000]"}
STYLE = """
:host { color: var(--ink); font: inherit; }
.slick-header-column, .slick-header-columns, .slick-row, .slick-viewport { background: var(--paper) !important; }
.slick-header-column { color: var(--ink) !important; font-weight: 600; }
.slick-cell { border-color: var(--line) !important; font-variant-numeric: tabular-nums; }
.slick-row.odd { background: var(--panel) !important; }
"""


def scripts() -> list[str]:
    """Return BokehJS: the core, widgets and tables, and nothing that loads more."""
    from bokeh.resources import Resources

    components = ["bokeh", "bokeh-widgets", "bokeh-tables"]
    return list(Resources(mode="inline", components=components, log_level="error").js_raw)  # type: ignore[arg-type]


def data_block(models: Mapping[str, Any]) -> str:
    """Return `models`, by the id of the element each stands in, as JSON that is inert inside a script element."""
    from bokeh.core.json_encoder import serialize_json
    from bokeh.core.types import ID
    from bokeh.embed import json_item

    items = [json_item(model, ID(target)) for target, model in models.items()]
    return serialize_json(items, pretty=False).replace("<", "\\u003c")


@dataclass(frozen=True)
class Column:
    """One column of a sortable table; `kind` is text, session, money, price, fraction, shares or count."""

    name: str
    title: str
    kind: str
    width: int = 100


def sortable_table(table: pd.DataFrame, columns: Iterable[Column]) -> Any:
    """Return a table that sorts by a click on its header and keeps only the visible rows in the page's DOM."""
    from bokeh.models.css import InlineStyleSheet
    from bokeh.models.sources import ColumnDataSource
    from bokeh.models.widgets.tables import DataTable, TableColumn

    columns = tuple(columns)
    return DataTable(
        source=ColumnDataSource({column.name: _cells(table[column.name], column.kind) for column in columns}),
        columns=[
            TableColumn(field=column.name, title=column.title, formatter=_formatter(column.kind), width=column.width)
            for column in columns
        ],
        index_position=None,
        selectable=False,
        reorderable=False,
        autosize_mode="none",
        margin=0,
        sizing_mode="stretch_width",
        height=ROW_HEIGHT * (min(len(table), VISIBLE_ROWS) + 2),
        stylesheets=[InlineStyleSheet(css=STYLE)],
    )


def _cells(values: pd.Series, kind: str) -> Any:
    if kind == "text":
        return values.astype("object").fillna("").astype(str).tolist()
    return values.to_numpy()


def _formatter(kind: str) -> Any:
    from bokeh.models.widgets.tables import DateFormatter, NumberFormatter, StringFormatter

    if kind == "text":
        return StringFormatter()
    if kind == "session":
        return DateFormatter(format="%F", nan_format="open")
    return NumberFormatter(format=NUMERALS[kind], text_align="right", nan_format="n/a")
