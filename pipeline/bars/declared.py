"""What a file cannot be asked: what its prices are adjusted for, what its volume counts, what its times mean."""

from collections.abc import Iterator
from dataclasses import dataclass

from pipeline.bars.layouts import Match
from pipeline.bars.quality import RefusedError, Rule
from pipeline.bars.rows import ReadOptions
from pipeline.bars.times import Clock
from pipeline.modes import Frequency
from pipeline.words import listed

SHARES = {"shares": 1, "lots": 100}
_ADJUSTED_TWICE = {"none": (), "splits": ("split",), "all": ("adjusted_close", "dividend", "split", "factor")}


@dataclass(frozen=True)
class Facts:
    """What is known of a file beside its columns: as declared, else as its layout says."""

    adjustment: str  # none | splits | all
    shares: int  # that one unit of its volume is
    clock: Clock | None  # of minute bars


def facts_of(match: Match, options: ReadOptions) -> Facts:
    """Return what is known of files of a layout.

    Raises
    ------
    RefusedError
        Neither layout nor declaration tells something; all of it is named at once. Or a file has a column by which its
        prices would be adjusted a second time.
    """
    layout = match.layout
    adjustment = options.adjustment or layout.adjustment
    unit = options.volume_unit or layout.volume_unit
    zone, label = options.time_zone or layout.zone, options.bar_label or layout.label
    is_timed = layout.frequency is Frequency.MINUTE
    if adjustment is None or unit is None or (is_timed and (zone is None or label is None)):
        raise RefusedError(Rule.DECLARED, f"layout {layout.name} does not tell: set {'; '.join(_open(match, options))}")
    twice = [name for name in _ADJUSTED_TWICE[adjustment] if name in match.places]
    if twice:
        raise RefusedError(
            Rule.DECLARED,
            f"data.adjustment is {adjustment}, but layout {layout.name} has {listed(twice)} to adjust prices by; they "
            f"would be adjusted twice. Leave it null, or drop the column.",
        )
    clock = Clock(zone, label, options.bar_minutes) if is_timed and zone and label else None
    return Facts(adjustment, SHARES[unit], clock)


def _open(match: Match, options: ReadOptions) -> Iterator[str]:
    """Yield the settings that have to tell, each with what it may be."""
    layout = match.layout
    if not (options.adjustment or layout.adjustment):
        yield "data.adjustment to none (as traded), splits or all (qfq, hfq)"
    if not (options.volume_unit or layout.volume_unit):
        yield "data.volume_unit to shares or lots"
    if layout.frequency is Frequency.MINUTE and not (options.time_zone or layout.zone):
        yield "data.time_zone as America/New_York"
    if layout.frequency is Frequency.MINUTE and not (options.bar_label or layout.label):
        yield "data.bar_label to start or end"
