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
LEAST_SECONDS = 0.02  # of a task: opening its files, handing it out and taking its answer cost 3 to 4 ms
SHOWN_SECONDS = 0.2  # of a task where one worker computes: how often somebody who looks on wants to see it
AHEAD = 3  # a task is a third of what each worker has still to do
FINEST = 30  # no task is smaller than this part of a worker's share
READ_SECONDS = 7e-8  # per bar, to read a block; one that is cut in two is read twice ...
WORTH_A_READ = 6  # ... so each part must take so many times as long
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
    tasks: list[Block] = []
    task: list[Block] = []
    for block in blocks:
        worth = WORTH_A_READ * READ_SECONDS * block.rows / seconds_per_row if workers > 1 else block.rows
        waiting = [block]
        while waiting:
            part, rows = waiting.pop(), sum(each.rows for each in task)
            goal = min(max(left / ahead, least), MOST_ROWS)
            last = _cut(part, goal - rows, worth)
            if last < len(part.symbols):
                waiting.append(part.between(last, len(part.symbols)))
                part = part.between(0, last)
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


def _cut(block: Block, room: float, worth: float) -> int:
    """Return how many symbols of a block fit into `room` rows; all, if one of the parts were not `worth` a read."""
    if room >= ENOUGH * block.rows or block.rows < 2 * worth:
        return len(block.symbols)
    ends = np.fromiter(accumulate(block.lengths), np.int64)
    first, last = np.searchsorted(ends, [worth, block.rows - worth], side="left").tolist()
    return 1 + first + int(np.abs(ends[first:last] - room).argmin()) if first < last else len(block.symbols)
