"""What vendors call the columns of their files, recognised by the names in the header.

A new vendor is one entry of `LAYOUTS`. Names are compared as letters and digits only, in lower case, so ``<CLOSE>``,
``Close`` and ``close`` are one. A layout also declares what its prices are: as traded (``none``), adjusted for splits
(``splits``), or for splits and dividends (``all``).
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from pipeline.bars.quality import RefusedError, Rule, is_symbol
from pipeline.schema import PRICES, RAW_PRICES

REQUIRED = ("session", *PRICES, "volume")
KNOWN = ("symbol", *REQUIRED, "adjusted_close", "dividend", "split")
RESERVED = frozenset((*KNOWN, *RAW_PRICES, "time", "factor", "scale", "line", "file"))
SUFFIXES = (".csv.gz", ".txt.gz", ".csv", ".txt", ".parquet")
SHOWN = 40  # characters of a header; the quarantine keeps 200 of the whole message
_DATE = r"[0-9]{4}[-_.]?[0-9]{2}[-_.]?[0-9]{2}"
_OHLCV = {name: name for name in (*PRICES, "volume")}


@dataclass(frozen=True)
class Layout:
    """A vendor's way to write bars; all header names as `plain` makes them."""

    name: str
    adjustment: str  # none | splits | all
    columns: Mapping[str, str]  # theirs: ours; all of them must be there
    optional: Mapping[str, str] = field(default_factory=lambda: {"symbol": "symbol", "ticker": "symbol"})
    before: tuple[str, str] | None = None  # the first stands before the second; tells twins apart
    compact: bool = False  # dates may be YYYYMMDD
    daily: Mapping[str, tuple[str, ...]] = field(
        default_factory=dict
    )  # columns that must hold one of these texts in a file of daily bars


@dataclass(frozen=True)
class Match:
    """A layout found in a header: where its columns stand."""

    layout: Layout
    places: Mapping[str, int]  # ours: index
    extras: Mapping[str, int]  # further columns by the name they would be stored under
    daily: Mapping[int, tuple[str, ...]]
    notes: tuple[str, ...]


LAYOUTS: tuple[Layout, ...] = (
    # https://www.alphavantage.co/documentation/#dailyadj: raw prices, dividends and splits on the ex-date
    Layout(
        name="alpha-vantage",
        adjustment="none",
        columns={
            "timestamp": "session",
            **_OHLCV,
            "adjustedclose": "adjusted_close",
            "dividendamount": "dividend",
            "splitcoefficient": "split",
        },
    ),
    # our own bars as pandas or `files` write them; the factor is optional
    Layout(
        name="pipeline",
        adjustment="none",
        columns={"symbol": "symbol", "session": "session", **_OHLCV},
        optional={"factor": "factor"},
    ),
    # finance.yahoo.com since 2017: prices adjusted for splits, "Adj Close" for dividends too
    Layout(
        name="yahoo",
        adjustment="splits",
        columns={"date": "session", **_OHLCV, "adjclose": "adjusted_close"},
        before=("adjclose", "volume"),
    ),
    # ichart.finance.yahoo.com until 2017, and bokeh_sampledata: prices as traded
    Layout(
        name="yahoo-2013",
        adjustment="none",
        columns={"date": "session", **_OHLCV, "adjclose": "adjusted_close"},
        before=("volume", "adjclose"),
    ),
    # https://stooq.com/db/h/: bulk files, adjusted for splits and dividends
    Layout(
        name="stooq",
        adjustment="all",
        columns={"ticker": "symbol", "date": "session", **{name: name for name in PRICES}, "vol": "volume"},
        optional={},
        compact=True,
        daily={"per": ("D",), "time": ("000000", "0", "")},
    ),
    # https://stooq.com/q/d/: the download of one symbol, and the plainest file there is
    Layout(name="stooq-web", adjustment="all", columns={"date": "session", **_OHLCV}),
)


def plain(name: str) -> str:
    """Return a header name as it is compared: its letters and digits, in lower case."""
    return "".join(c for c in name.casefold() if c.isalnum())


def recognise(header: Sequence[str], columns: Mapping[str, str]) -> Match:
    """Return which layout a header has.

    Parameters
    ----------
    header : sequence of str
        Names as they came.
    columns : mapping of str
        ``data.columns``, ours: theirs; empty recognises by the header alone.

    Raises
    ------
    RefusedError
        No layout fits, or a name that is needed stands there twice; names the nearest layout and what it lacks.
    """
    names = [plain(name) for name in header]
    layout = _mapped(header, names, columns) if columns else _fitting(header, names)
    ours = {**layout.optional, **layout.columns}
    places: dict[str, int] = {}
    for place, name in enumerate(names):
        if name in ours:
            if ours[name] in places:
                raise RefusedError(Rule.NOT_BARS, f"two columns are {ours[name]!r} in the header {_shown(header)}")
            places[ours[name]] = place
    daily = {place: layout.daily[name] for place, name in enumerate(names) if name in layout.daily}
    given = {plain(theirs): mine for mine, theirs in columns.items()}
    extras: dict[str, int] = {}
    notes = []
    for place, name in enumerate(header):
        if place in places.values() or place in daily:
            continue
        stored = given.get(names[place]) or "_".join(re.findall(r"[^\W_]+", name.casefold()))
        if not stored or stored in RESERVED or stored in extras:
            notes.append(f"column {name!r} is ignored: its name is empty, ours, or taken")
        else:
            extras[stored] = place
    return Match(layout, places, extras, daily, tuple(notes))


def symbol_of(name: str, file_pattern: str) -> str | None:
    """Return the symbol that a file's name tells by ``data.file_pattern``, None if it does not fit.

    ``{symbol}`` is as short as the rest allows, ``{date}`` a date if that fits, else anything like every other
    ``{name}``; the suffixes ``.csv .csv.gz .txt .txt.gz .parquet`` are equivalent.

    >>> symbol_of("DA-T-T-2021-04-21.csv", "DA-{symbol}-T-{date}.csv")
    'T'
    """
    parts = re.split(r"(\{\w+\})", _stem(file_pattern))
    for date in (_DATE, ".+?"):
        kinds = {"{symbol}": "(?P<symbol>.+?)", "{date}": date}
        pattern = "".join(kinds.pop(part, ".+?") if part[:1] == "{" else re.escape(part) for part in parts)
        found = re.fullmatch(pattern, _stem(name))
        if found and is_symbol(found["symbol"]):
            return found["symbol"]
    return None


def _stem(name: str) -> str:
    return next((name.removesuffix(suffix) for suffix in SUFFIXES if name.endswith(suffix)), name)


def _fitting(header: Sequence[str], names: Sequence[str]) -> Layout:
    """Return the first layout whose columns are all there."""
    for layout in LAYOUTS:
        if _missing(layout, names):
            continue
        if layout.before and names.index(layout.before[0]) > names.index(layout.before[1]):
            continue
        if layout.adjustment == "all" and any(name.startswith("adj") for name in names):
            break  # it has an adjusted price of some other kind: its prices are not adjusted for everything
        return layout
    nearest = min(LAYOUTS, key=lambda layout: len(_missing(layout, names)) / len(layout.columns))
    if len(_missing(nearest, names)) == len(nearest.columns):
        raise RefusedError(
            Rule.NOT_BARS,
            f"not a bar file: its first line is {_shown(header)}; a header like date,open,high,low,close,volume is "
            f"expected. If it is one, name the columns in data.columns.",
        )
    lacks = _listed(_missing(nearest, names)) or "nothing, but has an adjusted price of unknown meaning"
    raise RefusedError(
        Rule.NOT_BARS,
        f"header {_shown(header)} has no known layout; the nearest, {nearest.name}, lacks {lacks}. "
        f"Name the columns in data.columns.",
    )


def _missing(layout: Layout, names: Sequence[str]) -> list[str]:
    return [name for name in layout.columns if name not in names]


def _mapped(header: Sequence[str], names: Sequence[str], columns: Mapping[str, str]) -> Layout:
    """Return the layout that ``data.columns`` describes; what it leaves out stands under its own name."""
    theirs = {mine: plain(columns.get(mine, mine)) for mine in KNOWN if mine in columns or plain(mine) in names}
    wanted = {mine: plain(columns.get(mine, mine)) for mine in (*REQUIRED, *columns)}
    lacks = [f"{columns.get(mine, mine)!r} ({mine})" for mine, name in wanted.items() if name not in names]
    if lacks:
        raise RefusedError(Rule.NOT_BARS, f"header {_shown(header)} lacks {_listed(lacks)} of data.columns")
    has_actions = any(mine in theirs for mine in ("adjusted_close", "dividend", "split"))
    return Layout(
        name="columns",
        adjustment="none" if has_actions else "all",
        columns={name: mine for mine, name in theirs.items()},
        optional={},
        compact=True,
    )


def _shown(header: Sequence[str]) -> str:
    text = ",".join(header)
    return repr(text if len(text) <= SHOWN else text[:SHOWN] + "...")


def _listed(names: Sequence[str]) -> str:
    return ", ".join(names[:4]) + (f" and {len(names) - 4} more" if len(names) > 4 else "")  # noqa: PLR2004
