"""Which vendor's layout a header has, and where its columns stand."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from pipeline.bars.quality import NUMERAL, RefusedError, Rule
from pipeline.bars.vendors import ENGLISH, LAYOUTS, Layout
from pipeline.modes import Frequency
from pipeline.schema import PRICES, RAW_PRICES
from pipeline.words import listed

WHEN = {Frequency.DAILY: "session", Frequency.MINUTE: "time"}
NUMBERED = (*PRICES, "volume")
KNOWN = ("symbol", *NUMBERED, "adjusted_close", "dividend", "split", "factor")
RESERVED = frozenset((*KNOWN, *RAW_PRICES, "session", "time", "scale", "line", "file", "adj_close", "adjclose"))
SHOWN = 40  # characters of a header; the quarantine keeps 200 of the whole message
NAMED = 4  # columns, for the same reason


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


def _snake(name: str) -> str:
    return "_".join(re.findall(r"[^\W_]+", name.casefold()))


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
    if sum(bool(re.search(NUMERAL, cell.strip())) for cell in header) >= len(PRICES):
        raise RefusedError(
            Rule.NOT_BARS,
            f"no header: its first line is {_shown(header)}. Write one above it that says what the columns are, like "
            f"{_example(frequency)}.",
        )
    if len(_missing(nearest, names)) == len(_needed(nearest)):
        raise RefusedError(
            Rule.NOT_BARS,
            f"not a bar file: its first line is {_shown(header)}; a header like {_example(frequency)} is expected. "
            f"If it is one, name the columns in data.columns.",
        )
    lacks = listed(_missing(nearest, names), NAMED) or "nothing, but has an adjusted price or factor of unknown meaning"
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
    return {Frequency.DAILY: "date", Frequency.MINUTE: "datetime"}[frequency] + ",open,high,low,close,volume"


def _mapped(header: Sequence[str], names: Sequence[str], columns: Mapping[str, str], frequency: Frequency) -> Layout:
    """Return the layout that ``data.columns`` describes; what it leaves out stands under its own name."""
    known: tuple[str, ...] = (WHEN[frequency], *KNOWN)
    if frequency is Frequency.MINUTE and ("date" in columns or ("time" not in columns and "date" in names)):
        known = ("date", *known)
    theirs = {mine: plain(columns.get(mine, mine)) for mine in known if mine in columns or plain(mine) in names}
    wanted = {mine: plain(columns.get(mine, mine)) for mine in (WHEN[frequency], *NUMBERED, *columns)}
    lacks = [f"{columns.get(mine, mine)!r} ({mine})" for mine, name in wanted.items() if name not in names]
    if lacks:
        raise RefusedError(
            Rule.NOT_BARS,
            f"header {_shown(header)} lacks {listed(lacks)} of data.columns; where columns are declared, all are",
        )
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
