"""Which vendor's layout a header has, and the symbol in a file's name."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

from pipeline.bars.quality import RefusedError, Rule, is_symbol
from pipeline.bars.vendors import ENGLISH, LAYOUTS, Layout
from pipeline.modes import Frequency
from pipeline.schema import PRICES, RAW_PRICES

WHEN = {Frequency.DAILY: "session", Frequency.MINUTE: "time"}
NUMBERED = (*PRICES, "volume")
KNOWN = ("symbol", *NUMBERED, "adjusted_close", "dividend", "split", "factor")
RESERVED = frozenset((*KNOWN, *RAW_PRICES, "session", "time", "scale", "line", "file", "adj_close", "adjclose"))
_SUFFIX = re.compile(r"(\.csv|\.txt)(\.gz)?\Z|\.parquet\Z")
ANYTHING = ".+?"
_SYMBOL = f"(?P<symbol>{ANYTHING})"
SHOWN = 40  # characters of a header; the quarantine keeps 200 of the whole message
_DATE = r"[0-9]{4}[-_.]?[0-9]{2}[-_.]?[0-9]{2}"


@dataclass(frozen=True)
class Match:
    """A layout found in a header: where its columns stand."""

    layout: Layout
    places: Mapping[str, int]  # ours: index
    extras: Mapping[str, int]  # further columns by the name they would be stored under
    fixed: Mapping[int, tuple[str, ...]]
    notes: tuple[str, ...]


def plain(name: str) -> str:
    """Return a header name as it is compared: its letters and digits, in lower case."""
    return "".join(c for c in name.casefold() if c.isalnum())


def recognise(header: Sequence[str], columns: Mapping[str, str], frequency: Frequency = Frequency.DAILY) -> Match:
    """Return which layout a header has.

    Parameters
    ----------
    header : sequence of str
        Names as they came.
    columns : mapping of str
        ``data.columns``, ours: theirs; empty recognises by the header alone.
    frequency : Frequency
        ``data.frequency``; layouts of the other one are none.

    Raises
    ------
    RefusedError
        No layout fits, or a name that is needed stands there twice; names the nearest layout and what it lacks.
    """
    names = [plain(name) for name in header]
    layout = _mapped(header, names, columns, frequency) if columns else _fitting(header, names, frequency)
    ours = {**layout.optional, **layout.columns}
    places: dict[str, int] = {}
    for place, name in enumerate(names):
        if name in ours:
            if ours[name] in places:
                raise RefusedError(
                    Rule.NOT_BARS,
                    f"two columns are {ours[name]!r} in the header {_shown(header)}; one symbol a file is expected, or "
                    f"a symbol column",
                )
            places[ours[name]] = place
    fixed = {place: layout.fixed[name] for place, name in enumerate(names) if name in layout.fixed}
    given = {plain(theirs): mine for mine, theirs in columns.items()}
    extras: dict[str, int] = {}
    notes = []
    for place, name in enumerate(header):
        if place in places.values() or place in fixed:
            continue
        stored = given.get(names[place]) or ENGLISH.get(names[place]) or _snake(name)
        if not stored or stored in RESERVED or stored in extras:
            notes.append(f"column {name!r} is ignored: its name is empty, ours, or taken")
        else:
            extras[stored] = place
    return Match(layout, places, extras, fixed, tuple(notes))


def symbol_of(name: str, file_pattern: str) -> str | None:
    """Return the symbol that a file's name tells by ``data.file_pattern``, None if it does not fit.

    ``{symbol}`` is as short as the rest allows, ``{date}`` a date if that fits, else anything like every other
    ``{name}``; the suffixes ``.csv .csv.gz .txt .txt.gz .parquet`` are equivalent.

    >>> symbol_of("DA-T-T-2021-04-21.csv", "DA-{symbol}-T-{date}.csv")
    'T'
    """
    for pattern in _patterns(file_pattern):
        found = pattern.fullmatch(_stem(name))
        if found and is_symbol(found["symbol"]):
            return found["symbol"]
    return None


@lru_cache(maxsize=8)
def _patterns(file_pattern: str) -> tuple[re.Pattern[str], ...]:
    """Return what a file's name must look like, with ``{date}`` a date, and with it anything."""
    parts = re.split(r"(\{\w+\})", _stem(file_pattern))
    return tuple(re.compile(_regex(parts, {"{symbol}": _SYMBOL, "{date}": date})) for date in (_DATE, ANYTHING))


def _regex(parts: Sequence[str], kinds: dict[str, str]) -> str:
    """Return what matches a file's name, in a time that does not explode with the number of placeholders.

    What stands for anything ends where the text after it first stands, for good (an atomic group), since a later place
    would leave less for the rest; not so before a date, or where that text must end the name.
    """
    pieces = [kinds.pop(part, ANYTHING) if part[:1] == "{" else re.escape(part) for part in parts if part]
    wild = (ANYTHING, _SYMBOL, _DATE)
    made = ""
    while pieces:
        piece, *pieces = pieces
        if piece == ANYTHING and pieces[:1] == [ANYTHING]:
            made += "."
        elif piece == ANYTHING and len(pieces) > 1 and pieces[0] not in wild and pieces[1] != _DATE:
            text, *pieces = pieces
            made += f"(?>{ANYTHING}{text})"
        else:
            made += piece
    return made


def _snake(name: str) -> str:
    return "_".join(re.findall(r"[^\W_]+", name.casefold()))


def _stem(name: str) -> str:
    return _SUFFIX.sub("", name)


def _fitting(header: Sequence[str], names: Sequence[str], frequency: Frequency) -> Layout:
    """Return the first layout of a frequency whose columns are all there."""
    layouts = [layout for layout in LAYOUTS if layout.frequency is frequency]
    for layout in layouts:
        if _missing(layout, names):
            continue
        if layout.before and names.index(layout.before[0]) > names.index(layout.before[1]):
            continue
        if layout.adjustment == "all" and any(name.startswith("adj") or name == "factor" for name in names):
            break  # it has an adjusted price of some other kind: its prices are not adjusted for everything
        return layout
    others = [layout for layout in LAYOUTS if layout.frequency is not frequency and not _missing(layout, names)]
    if others:
        raise RefusedError(
            Rule.NOT_BARS,
            f"header {_shown(header)} is that of {others[0].name}, {others[0].frequency} bars, but data.frequency is "
            f"{frequency}. Set data.frequency: {others[0].frequency}.",
        )
    nearest = min(layouts, key=lambda layout: len(_missing(layout, names)) / len(_needed(layout)))
    if len(_missing(nearest, names)) == len(_needed(nearest)):
        raise RefusedError(
            Rule.NOT_BARS,
            f"not a bar file: its first line is {_shown(header)}; a header like {_example(frequency)} is expected. "
            f"If it is one, name the columns in data.columns.",
        )
    lacks = listed(_missing(nearest, names)) or "nothing, but has an adjusted price or factor of unknown meaning"
    raise RefusedError(
        Rule.NOT_BARS,
        f"header {_shown(header)} has no known layout; the nearest, {nearest.name}, lacks {lacks}. "
        f"Name the columns in data.columns.",
    )


def _needed(layout: Layout) -> tuple[str, ...]:
    return (*layout.columns, *layout.marks)


def _missing(layout: Layout, names: Sequence[str]) -> list[str]:
    return [name for name in _needed(layout) if name not in names]


def _example(frequency: Frequency) -> str:
    return {Frequency.DAILY: "date", Frequency.MINUTE: "symbol,time"}[frequency] + ",open,high,low,close,volume"


def _mapped(header: Sequence[str], names: Sequence[str], columns: Mapping[str, str], frequency: Frequency) -> Layout:
    """Return the layout that ``data.columns`` describes; what it leaves out stands under its own name."""
    known = (WHEN[frequency], *KNOWN)
    theirs = {mine: plain(columns.get(mine, mine)) for mine in known if mine in columns or plain(mine) in names}
    wanted = {mine: plain(columns.get(mine, mine)) for mine in (WHEN[frequency], *NUMBERED, *columns)}
    lacks = [f"{columns.get(mine, mine)!r} ({mine})" for mine, name in wanted.items() if name not in names]
    if lacks:
        raise RefusedError(Rule.NOT_BARS, f"header {_shown(header)} lacks {listed(lacks)} of data.columns")
    return Layout(
        name="columns",
        adjustment=None,
        columns={name: mine for mine, name in theirs.items()},
        optional={},
        volume_unit=None,
        compact=True,
        frequency=frequency,
    )


def _shown(header: Sequence[str]) -> str:
    text = ",".join(header)
    return repr(text if len(text) <= SHOWN else text[:SHOWN] + "...")


def listed(names: Sequence[str]) -> str:
    """Return names for a message: the first four, and how many more there are."""
    return ", ".join(names[:4]) + (f" and {len(names) - 4} more" if len(names) > 4 else "")  # noqa: PLR2004
