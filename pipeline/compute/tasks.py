"""Tasks as a cluster gets them: named for Dask's own pages, and packed so that only a worker unpacks them.

Dask colours and sums up tasks by the first part of their key, so that part is stage and strategy, one colour and one
progress bar; the symbols stand behind it: ``("signals sma_cross-1f2e3d4c", 7, "AAPL..AMZN")``. A scheduler of another
machine reads a graph before it hands out the tasks, and need not have a package of ours: so a task is bytes to it.
"""

import operator
import pickle
import re
import uuid
from collections.abc import Hashable, Iterator, Sequence
from functools import cache
from typing import Any

from dask._task_spec import GraphNode, Task
from dask.delayed import Delayed
from distributed.protocol.pickle import dumps
from distributed.utils import color_of

__all__ = ["packed"]

TITLE = re.compile(r"(?:bars-)?(?P<title>\w.*)-[0-9a-f]{32}")
LEGIBLE = 0.4  # brightness, of 1
UNUSUAL = re.compile(r"[^\w.^=+~ -]")


def packed(tasks: Sequence[Delayed]) -> tuple[dict[Hashable, Any], dict[Hashable, Hashable]]:
    """Return the graph of independent `tasks` for a cluster, and for each of its keys the key of the task it was.

    Keys are new at every call: the same tasks asked for again are computed again, and no other run's results are taken.
    """
    nodes = {task.key: dict(task.dask)[task.key] for task in tasks}
    call = uuid.uuid4().hex[:8]
    graph: dict[Hashable, Any] = {}
    was: dict[Hashable, Hashable] = {}
    for place, (key, node) in enumerate(nodes.items()):
        new = _named(key, node, place, call)
        graph[new] = Task(new, operator.call, Task(None, pickle.loads, dumps(node)))
        was[new] = key
    return graph, was


def _named(key: Any, node: GraphNode, place: int, call: str) -> Hashable:
    prefix, *rest = key if isinstance(key, tuple) else (key,)
    found = TITLE.fullmatch(str(prefix))
    place = rest[0] if rest and isinstance(rest[0], int) else place  # Dask computes in the order of its keys
    return (f"{legible(found['title'] if found else str(prefix))}-{call}", place, symbols_of(node))


@cache
def legible(title: str) -> str:
    """Return a title that Dask's pages give a colour on which its black letters can be read.

    They hash a title to one of their colours, of which the dark ones hide the letters; a blank more, which nobody
    sees, is another colour. The same title has the same colour in every run.
    """
    return next(name for name in (title + " " * more for more in range(100)) if _brightness(color_of(name)) > LEGIBLE)


def _brightness(colour: str) -> float:
    red, green, blue = (int(colour[place : place + 2], 16) / 255 for place in (1, 3, 5))
    return 0.299 * red + 0.587 * green + 0.114 * blue  # ITU-R BT.601


def symbols_of(node: Any) -> str:
    """Return the first and the last symbol that a task is about, as its bars come: ``AAPL..AMZN``."""
    symbols = [symbol for block in _blocks(node) for symbol in (block.symbols[0], block.symbols[-1])]
    ends = dict.fromkeys([symbols[0], symbols[-1]]) if symbols else ()
    return UNUSUAL.sub("_", "..".join(ends))


def _blocks(value: Any) -> Iterator[Any]:
    """Yield what holds symbols among the arguments of a task, however deep."""
    match value:
        case Task(args=args, kwargs=kwargs):
            yield from _blocks([*args, *kwargs.values()])
        case dict():
            yield from _blocks(list(value.values()))
        case list() | tuple():
            for each in value:
                yield from _blocks(each)
        case _ if hasattr(value, "symbols"):
            yield value
