"""Blocks cut and joined into tasks: few large ones for quick strategies, finer ones for slow ones.

The store's blocks are a matter of files; how much a worker takes at a time is a matter of seconds. Tasks are
consecutive in the order of the blocks and the largest come first, so that workers which take the next one whenever
they are free come to their ends together.
"""

from collections.abc import Sequence
from itertools import accumulate

import numpy as np

from pipeline.bars.blocks import Block, joined

MOST_ROWS = 300_000  # of a task: what a worker holds, 20 MB with all columns; more would make none quicker
LEAST_SECONDS = 0.01  # of a task: handing it out and taking its answer cost 1 to 2 ms
SHOWN_SECONDS = 0.2  # of a task where one worker computes: how often somebody who looks on wants to see it
AHEAD = 2  # a task is half of what each worker has still to do
FINEST = 60  # no task is smaller than this part of a worker's share
READ_SECONDS = 7e-8  # per bar, to read a block; every worker that takes a piece of one reads it, once ...
WORTH_A_READ = 6  # ... so a block is cut if it takes so many times as long
PIECE = 0.4  # and where a task should be no more than this part of it: most blocks stay whole
ENOUGH = 0.75  # of the goal, and a task is closed


def split(blocks: Sequence[Block], workers: int, seconds_per_row: float) -> list[Block]:
    """Return the same symbols, in the same order, as blocks that keep `workers` busy to the end.

    Parameters
    ----------
    blocks : sequence of Block
        As they are stored.
    workers : int
        How many compute at a time; for one, nothing is cut.
    seconds_per_row : float
        What a bar takes on one core, > 0: it decides which tasks are too small to be worth handing out.
    """
    total = left = sum(block.rows for block in blocks)
    ahead = AHEAD * workers if workers > 1 else FINEST  # one worker needs no balance: its tasks show progress
    least = max((LEAST_SECONDS if workers > 1 else SHOWN_SECONDS) / seconds_per_row, total / (FINEST * workers))
    is_cut = workers > 1 and seconds_per_row >= WORTH_A_READ * READ_SECONDS
    tasks: list[Block] = []
    task: list[Block] = []
    for block in blocks:
        waiting = [block]
        while waiting:
            part, rows = waiting.pop(), sum(each.rows for each in task)
            goal = min(max(left / ahead, least), MOST_ROWS)
            if is_cut and goal <= PIECE * block.rows:
                part, *waiting = _cut(part, goal - rows)
            if task and rows + part.rows / 2 > goal:
                tasks.append(joined(task))
                left, task, rows = left - rows, [], 0
            task.append(part)
            if rows + part.rows >= ENOUGH * goal:
                tasks.append(joined(task))
                left, task = left - rows - part.rows, []
    if tasks and sum(each.rows for each in task) < (1 - ENOUGH) * least:
        task = [tasks.pop(), *task]
    return [*tasks, joined(task)] if task else tasks


def _cut(block: Block, room: float) -> list[Block]:
    """Return a block as two: its first symbols, as many as come nearest to `room` rows, and the others, if any."""
    ends = np.fromiter(accumulate(block.lengths), np.int64)
    first = 1 + int(np.abs(ends - room).argmin())
    return block.cut(first) if first < len(ends) else [block]
