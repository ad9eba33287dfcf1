"""The times of minute bars, read from cells: their ends in UTC, and the sessions they belong to.

A file writes the clock of the exchange, or moments with their offset from UTC; which of a bar's ends it writes is told
by its layout or by the config. Whatever is no whole minute of the declared form is left out, never guessed.
"""

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.bars.quality import RefusedError, Rule
from pipeline.modes import BarLabel
from pipeline.words import counted

CLOCK = r"^[0-9]{4}-[0-9]{2}-[0-9]{2}[ T][0-9]{2}:[0-9]{2}(:00(\.0+)?)?$"
ZONED = CLOCK[:-1] + r"(Z|[+-][0-9]{2}:?[0-9]{2})$"
COMPACT = r"^([0-9]{4})([0-9]{2})([0-9]{2})([0-9]{2})([0-9]{2})00(000)?$"
DATE_ALONE = r"^([0-9]{4})[-./]?([0-9]{2})[-./]?([0-9]{2})( 00:00:00(\.0+)?)?$"
DIGITS_ALONE = r"^([0-9]{2})([0-9]{2})([0-9]{2})?$"
MINUTE = np.timedelta64(1, "m")
LOOKED_AT, ENOUGH = 1000, 20  # rows of a file, and gaps between bars, to tell how long its bars last
NAIVE, AWARE = pa.timestamp("ms"), pa.timestamp("ms", "UTC")


@dataclass(frozen=True)
class Clock:
    """How times are written."""

    zone: str  # of the exchange
    label: BarLabel  # which end of a bar they are
    minutes: int  # a bar lasts


def moments(cells: pa.Array, lines: np.ndarray, clock: Clock) -> tuple[np.ndarray, np.ndarray]:
    """Return the end of each bar, datetime64[ms] in UTC, and its session, datetime64[D]; NaT where it is no time.

    Parameters
    ----------
    cells : Array of text or timestamps, (rows,)
        As they came: ``2020-01-02 09:31``, with or without seconds (which are 0), offset or ``T``, or the digits alone.
    lines : array of int64, (rows,)
        Where they stand, for the message.
    clock : Clock
        How they are written. A time that the clock shows twice, or never, as summer time ends or begins, is none.

    Raises
    ------
    RefusedError
        Only some of them have an offset.
    """
    begins = _moments(cells, lines, clock.zone)
    ends = begins + clock.minutes * MINUTE if clock.label is BarLabel.START else begins
    within = pa.array(ends - np.timedelta64(1, "ms")).cast(NAIVE)  # a bar that ends at midnight is of the day before
    local = pc.local_timestamp(pc.assume_timezone(within, "UTC").cast(pa.timestamp("ms", clock.zone)))
    return ends, local.to_numpy(zero_copy_only=False).astype("datetime64[D]")


def check_length(times: np.ndarray, days: np.ndarray, clock: Clock) -> None:
    """Refuse bars, of times that are their starts, that are of another length than the clock says.

    Bars that begin sooner than one lasts would overlap; of bars that always begin further apart, in steps of 5 minutes,
    say, the last minutes would be known before they have passed.

    Parameters
    ----------
    times, days : datetime64[ms] and datetime64, (rows,)
        Of one file: when bars end, and their sessions.
    clock : Clock
        How they are written.

    Raises
    ------
    RefusedError
        They are of another length. A few gaps tell nothing.
    """
    if clock.label is not BarLabel.START:
        return
    some, places = np.unique(times[:LOOKED_AT], return_index=True)
    gaps = np.diff(some)[np.diff(days[places]) == np.timedelta64(0)] // MINUTE
    if len(gaps) < ENOUGH:
        return
    usual, step = int(np.median(gaps)), int(np.gcd.reduce(gaps))
    if usual < clock.minutes or step > clock.minutes:
        apart = usual if usual < clock.minutes else step
        came = f"bars begin {counted(apart, 'minute')} apart, and data.bar_minutes is {clock.minutes}"
        raise RefusedError(Rule.DECLARED, f"{came}. Set it to what a bar lasts")


def of_two(days: pa.Array, clocks: pa.Array) -> pa.Array:
    """Return dates and times of two columns as the text of one.

    Dates are ``YYYY-MM-DD``, also with dots, slashes or nothing between, times ``HH:MM``, ``HH:MM:SS`` or the digits
    alone; what is written otherwise stays as it is, and is no time then.

    Raises
    ------
    RefusedError
        Times are numbers: those before ten have lost their zeros.
    """
    if not pa.types.is_string(clocks.type):
        raise RefusedError(Rule.COLUMN_TYPE, f"times are {clocks.type}, not text; leading zeros may be lost")
    day = pc.replace_substring_regex(_trimmed(days), DATE_ALONE, r"\1-\2-\3")
    clock = pc.replace_substring_regex(_trimmed(clocks), DIGITS_ALONE, r"\1:\2:\3")
    clock = pc.utf8_rtrim(clock, ":")
    return pc.binary_join_element_wise(day, clock, " ")


def _trimmed(cells: pa.Array) -> pa.Array:
    return pc.utf8_trim_whitespace(pc.fill_null(pc.cast(cells, pa.string()), ""))


def _moments(cells: pa.Array, lines: np.ndarray, zone: str) -> np.ndarray:
    """Return cells as moments in UTC, NaT where they are no whole minute."""
    if pa.types.is_timestamp(cells.type):
        times = cells.cast(AWARE) if cells.type.tz else _local(cells.cast(NAIVE, safe=False), zone)
        found = times.to_numpy(zero_copy_only=False).astype("datetime64[ms]")
        return np.where(found == found.astype("datetime64[m]"), found, np.datetime64("NaT", "ms"))
    text = pc.replace_substring_regex(_trimmed(cells), COMPACT, r"\1-\2-\3 \4:\5:00")
    clocks, zoned = (pc.match_substring_regex(text, form) for form in (CLOCK, ZONED))
    if pc.any(clocks).as_py() and pc.any(zoned).as_py():
        row = pc.index(clocks, value=True).as_py()
        raise RefusedError(Rule.TIME, f"{cells[row].as_py()!r} at line {lines[row]} has no offset, others have one")
    has_offsets = pc.any(zoned).as_py()
    times = _parsed(text, zoned, AWARE) if has_offsets else _local(_parsed(text, clocks, NAIVE), zone)
    return times.to_numpy(zero_copy_only=False).astype("datetime64[ms]")


def _parsed(text: pa.Array, good: pa.Array, kind: pa.DataType) -> pa.Array:
    """Return text as timestamps, null where it is not `good` or no date that exists."""
    text = pc.if_else(good, text, None)
    try:
        return pc.cast(text, kind)
    except pa.ArrowInvalid:  # a 31st of February, an hour 25; rare, so one by one
        return pa.array([_parsed_alone(cell, kind) for cell in text], kind)


def _parsed_alone(cell: pa.Scalar, kind: pa.DataType) -> object:
    try:
        return pc.cast(cell, kind).as_py()
    except pa.ArrowInvalid:
        return None


def _local(times: pa.Array, zone: str) -> pa.Array:
    """Return what the clock of a zone shows as moments in UTC; null where it shows a time twice, or never."""
    early, late = (
        pc.assume_timezone(times, zone, ambiguous=which, nonexistent=which) for which in ("earliest", "latest")
    )
    return pc.if_else(pc.equal(early, late), early, None).cast(AWARE)
