"""What is to be built: the periods of the snapshot to be, and a task per block that changes."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import pairwise
from math import ceil
from pathlib import Path

import numpy as np
import pyarrow as pa

from pipeline.bars.intake import Intake
from pipeline.bars.parts import BlockTask, Piece, Sources
from pipeline.bars.plan import BLOCK_ROWS, block_count, extend_periods, lay_blocks, lay_periods
from pipeline.bars.simulator import symbol_of
from pipeline.bars.slices import Slices
from pipeline.bars.store import Part, Period, Snapshot
from pipeline.schema import ACTIONS, STORED


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


def block_tasks(intake: Intake, periods: Sequence[Period], staging: Path, adjustment: str) -> list[BlockTask]:
    """Return the blocks to build: those with symbols read anew or that go on, all where periods or columns moved."""
    stored, block_of = intake.stored, _blocks(intake)
    sources = _sources(intake, periods, staging, adjustment)
    pieces = _pieces(intake, block_of)
    made: dict[int, list[int]] = defaultdict(list)
    for number in range(intake.market.symbols if intake.market else 0):
        made[block_of[symbol_of(number)]].append(number)
    renewed: dict[int, set[str]] = defaultdict(set)
    for symbol in intake.touched & stored.keys():
        renewed[stored[symbol].block].add(symbol)
    following = _following(intake, block_of)
    nothing = Slices(intake.schema.empty_table(), (), (0,))
    blocks = {block_of[symbol] for symbol in intake.touched if symbol in block_of} | following.keys()
    if sources.is_widened or _starts(periods) != _starts(sources.before):
        blocks.update(block_of.values())
    return [
        BlockTask(
            block=block,
            pieces=tuple(pieces[block]),
            made=tuple(made[block]),
            renewed=frozenset(renewed[block]),
            following=following.get(block, nothing),
            stored=tuple(_stored_parts(intake.previous, block)),
            sources=sources,
        )
        for block in sorted(blocks)
    ]


def _blocks(intake: Intake) -> dict[str, int]:
    """Return the block of every symbol: where it is stored, or new blocks for new symbols."""
    stored = intake.stored
    new = {symbol: count for symbol, count in intake.rows_of.items() if symbol not in stored}
    block_of = {symbol: entry.block for symbol, entry in stored.items()}
    if new:
        total = sum(new.values())
        count = min(len(new), ceil(total / BLOCK_ROWS)) if stored else block_count(total, len(new))
        block_of |= lay_blocks(new, count, first=max(block_of.values(), default=-1) + 1)
    return block_of


def _sources(intake: Intake, periods: Sequence[Period], staging: Path, adjustment: str) -> Sources:
    files = sorted({reading.path for spill in intake.spilled for reading in spill.readings})
    place = {path: number for number, path in enumerate(files)}
    before = intake.previous.manifest if intake.previous else None
    actions = ACTIONS.empty_table()
    if intake.previous:
        actions = intake.previous.table(intake.previous.manifest.actions).cast(ACTIONS)
    return Sources(
        spills=intake.spilled,
        numbers=tuple(
            np.array([place[reading.path] for reading in spill.readings], np.int32) for spill in intake.spilled
        ),
        files=tuple(files),
        market=intake.market,
        actions=actions,
        extras=intake.extras,
        frequency=intake.frequency,
        is_widened=before is not None and before.columns != (*STORED, *intake.extras),
        adjustment=adjustment,
        periods=tuple(periods),
        before=before.periods if before else (),
        staging=staging,
    )


def _pieces(intake: Intake, block_of: Mapping[str, int]) -> dict[int, list[Piece]]:
    """Return the rows of the spills that each block is made from, of consecutive symbols as one."""
    pieces: dict[int, list[Piece]] = defaultdict(list)
    for number, spill in enumerate(() if intake.market else intake.spilled):
        for symbol, (first, last) in zip(spill.symbols, pairwise(spill.offsets), strict=True):
            if symbol not in intake.touched:
                continue
            run = pieces[block_of[symbol]]
            if run and (run[-1].spill, run[-1].last) == (number, first):
                run[-1] = replace(run[-1], last=last)
            else:
                run.append(Piece(number, first, last))
    return pieces


def _following(intake: Intake, block_of: Mapping[str, int]) -> dict[int, Slices]:
    """Return the bars that go on where stored ones end, by block."""
    go_on, schema = intake.followers, intake.schema
    bars = go_on.bars
    for name in intake.extras:
        if name not in bars.column_names:
            bars = bars.append_column(name, pa.array(np.full(len(bars), np.nan)))
    everything = Slices(bars.select(schema.names).cast(schema).combine_chunks(), go_on.symbols, go_on.starts)
    homes = np.array([block_of[symbol] for symbol in go_on.symbols], np.int64)
    rows = everything.codes(homes)
    return {block: everything.chosen(rows == block) for block in np.unique(homes).tolist()}


def _starts(periods: Sequence[Period]) -> list[str]:
    return [period.first for period in periods[1:]]  # the first period takes what is older


def _stored_parts(previous: Snapshot | None, block: int) -> list[tuple[Path, Part]]:
    if not previous:
        return []
    parts = [part for part in previous.manifest.parts if part.block == block]
    return [(previous.path(part), part) for part in sorted(parts, key=lambda part: part.period)]
