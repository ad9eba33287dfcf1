"""What is to be built: the periods of the snapshot to be, and a task per block that changes."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise
from math import ceil
from pathlib import Path

import numpy as np

from pipeline.bars.intake import Intake
from pipeline.bars.parts import BlockTask, Piece
from pipeline.bars.plan import BLOCK_ROWS, block_count, extend_periods, lay_blocks, lay_periods
from pipeline.bars.simulator import symbol_of
from pipeline.bars.store import Part, Period, Snapshot
from pipeline.modes import Frequency
from pipeline.schema import STORED


def plan_periods(intake: Intake) -> tuple[Period, ...]:
    """Return the periods of the snapshot to be."""
    days, rows = intake.sessions
    if not intake.previous:
        return lay_periods(days, rows)
    manifest = intake.previous.manifest
    kept = [0] * len(manifest.periods)
    for part in manifest.parts:
        sizes = zip(part.symbols, np.diff(part.offsets).tolist(), strict=True)
        kept[part.period] += sum(size for symbol, size in sizes if symbol not in intake.touched)
    return extend_periods(manifest.periods, kept, days, rows)


def block_tasks(
    intake: Intake, periods: Sequence[Period], staging: Path, frequency: Frequency = Frequency.DAILY
) -> list[BlockTask]:
    """Return the blocks to build: those with symbols read anew, all of them where periods or columns moved."""
    stored, rows = intake.stored, intake.rows_of
    new = {symbol: count for symbol, count in rows.items() if symbol not in stored}
    block_of = {symbol: entry.block for symbol, entry in stored.items()}
    if new:
        total = sum(new.values())
        count = min(len(new), ceil(total / BLOCK_ROWS)) if stored else block_count(total, len(new))
        block_of |= lay_blocks(new, count, first=max(block_of.values(), default=-1) + 1)
    pieces: dict[int, list[Piece]] = defaultdict(list)
    made: dict[int, list[int]] = defaultdict(list)
    for number in range(intake.market.symbols if intake.market else 0):
        made[block_of[symbol_of(number)]].append(number)
    for source, spill in enumerate(() if intake.market else intake.spills):
        for symbol, (first, last) in zip(spill.symbols, pairwise(spill.offsets), strict=True):
            run = pieces[block_of[symbol]]
            if run and (run[-1].source, run[-1].last) == (source, first):
                run[-1] = replace(run[-1], last=last)
            else:
                run.append(Piece(spill.file, source, first, last))
    kept: dict[int, list[str]] = defaultdict(list)
    renewed: dict[int, list[str]] = defaultdict(list)
    for symbol, entry in stored.items():
        (renewed if symbol in intake.touched else kept)[entry.block].append(symbol)
    touched = {block_of[symbol] for symbol in intake.touched if symbol in block_of}
    blocks = set(block_of.values()) if _is_moved(intake, periods) else touched
    return [
        BlockTask(
            block=block,
            pieces=tuple(pieces[block]),
            market=intake.market,
            made=tuple(made[block]),
            files=tuple(spill.reading.path for spill in intake.spills),
            extras=intake.extras,
            frequency=frequency,
            kept=tuple(kept[block]),
            renewed=tuple(renewed[block]),
            stored=tuple(_stored_parts(intake.previous, block)),
            periods=tuple(periods),
            staging=staging,
        )
        for block in sorted(blocks)
    ]


def _is_moved(intake: Intake, periods: Sequence[Period]) -> bool:
    """Tell whether the stored parts have other columns or periods than the snapshot to be."""
    if not intake.previous:
        return False
    before = intake.previous.manifest
    starts = [period.first for period in before.periods[1:]]  # the first period takes what is older
    return starts != [period.first for period in periods[1:]] or before.columns != (*STORED, *intake.extras)


def _stored_parts(previous: Snapshot | None, block: int) -> list[tuple[Path, Part]]:
    if not previous:
        return []
    parts = [part for part in previous.manifest.parts if part.block == block]
    return [(previous.path(part), part) for part in sorted(parts, key=lambda part: part.period)]
