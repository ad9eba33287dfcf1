"""The results of tasks as they come in, whatever order that is."""

from collections.abc import Callable, Sequence
from typing import Any

from dask.delayed import Delayed

LOST = (
    "{where}: a worker died, often for want of memory; what was under way there is computed again, {left} of {tasks} "
    "tasks were still to come"
)


class Arrivals:
    """The results of some tasks, in their order, as they come in."""

    def __init__(self, tasks: Sequence[Delayed], seen: Callable[[int, Any], None]) -> None:
        """Expect one result for every task; equal tasks share one."""
        self.places: dict[Any, list[int]] = {}
        for place, task in enumerate(tasks):
            self.places.setdefault(task.key, []).append(place)
        self.results: list[Any] = [None] * len(tasks)
        self.waiting = {task.key: task for task in tasks}
        self.seen = seen

    def arrive(self, key: Any, result: Any) -> None:
        """Take the result of the tasks with this key; other keys are steps on the way."""
        if self.waiting.pop(key, None) is None:
            return
        for place in self.places[key]:
            self.results[place] = result
            self.seen(place, result)
