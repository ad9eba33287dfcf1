"""How much of the cores workers use, once they run: ``python benchmarks/efficiency.py [ROUNDS]`` prints a table.

Strategies over the 252 stocks, in threads and in processes, each between two runs here, and each right after the same
work by the same workers; before and after that what two processes reach that have nothing to do with each other and
compute all the time, which is the ceiling. A second core is rarely worth a whole one: memory, caches and neighbours
are shared. How much of that is due to the strategy, and to nothing of ours, is told by two processes apart that ask
the same strategy (`APART`).
"""

import json
import sys
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import Any

from pipeline import config
from pipeline.bars.blocks import Block, blocks_of
from pipeline.bars.split import split
from pipeline.compute import workers
from pipeline.compute.choose import Choice
from pipeline.compute.monitor import idle
from pipeline.compute.scheduler import Kept, kept
from pipeline.events import Event, PartitionFinished
from pipeline.garbage import settle
from pipeline.modes import Kind
from pipeline.signals import build
from pipeline.signals.probe import probe
from pipeline.signals.strategy import Strategy, load_strategy
from pipeline.upkeep import opened_store
from quiet import Neighbours
from timed import BENCH, REPEATS, Worker, seconds, source

HERE = Path(__file__).parent
CORES = 2
YEAR, QUARTER = 252, 60  # sessions
STRATEGIES: dict[str, dict[str, int]] = {
    "heavy": {"averages": 3},
    "medium": {},
    "windows": {"window": YEAR},
    "windows, short": {"window": QUARTER},
    "windows, quartiles": {"window": QUARTER, "quartiles": True},
}
MUSTS = {
    ("heavy", Kind.PROCESSES): 0.93,
    ("medium", Kind.PROCESSES): 0.93,
    ("windows, quartiles", Kind.THREADS): 0.85,
}
"""What is asked of us. The other windows need the GIL between short calls, so two bare threads reach no more there."""
BURNER = """
import sys, time
print("ready", flush=True)
for _ in sys.stdin:
    began, total = time.perf_counter(), 0
    for number in range(6_000_000):
        total += number & 7
    print('{"seconds": %r}' % (time.perf_counter() - began), flush=True)
"""

APART = """
import json, sys, time
from pathlib import Path
from pipeline.bars.blocks import blocks_of, load_block
from pipeline.bars.store import open_snapshot
from pipeline.signals.partition import signals_of_block
from pipeline.garbage import settle
from pipeline.signals.strategy import load_strategy
settle()
snapshot, strategy = open_snapshot(Path(sys.argv[1])), load_strategy(sys.argv[2], json.loads(sys.argv[4]))
blocks = blocks_of(snapshot, list(snapshot.by_symbol))[:: int(sys.argv[3])]
print("ready", flush=True)
for _ in sys.stdin:
    began = time.perf_counter()
    for block in blocks:
        frame = load_block(block, strategy.columns)
        signals_of_block(frame, strategy=strategy, known=strategy.columns, span=(None, None))
    print('{"seconds": %r}' % (time.perf_counter() - began), flush=True)
"""
POOL = """
from pipeline.compute import workers
workers.prestart()
pool = workers.start_pool(2)
tasks = [pool.submit(abs, -number) for number in range(4)]
print(sum(task.result() for task in tasks))
workers.end_pool(pool, at_once=False)
"""


def main() -> None:
    print(table(efficiency(int(sys.argv[1]) if len(sys.argv) > 1 else REPEATS)))


def efficiency(rounds: int) -> dict[str, Any]:
    """Return seconds, speed-up and its part of the ceiling, by strategy and kind; medians of the rounds' own ratios."""
    settle()  # as commands do, and as workers begin
    workers.prestart()
    burners = [Worker(sys.executable, "-c", BURNER) for _ in range(CORES)]
    neighbours = Neighbours()
    samples: dict[str, list[dict[str, Any]]] = {name: [] for name in STRATEGIES}
    with tempfile.TemporaryDirectory() as folder, kept() as start:
        own = [*source(), f"data.store={folder}/store"]
        snapshot, _ = opened_store(config.load(BENCH, own), lambda _: None)
        blocks = blocks_of(snapshot, list(snapshot.by_symbol))
        strategies = {name: load_strategy(file_of(name), params) for name, params in STRATEGIES.items()}
        apart = {name: asked_apart(f"{folder}/store", name) for name in STRATEGIES}
        prices = {name: probe(blocks, each, (None, None)).seconds_per_row for name, each in strategies.items()}
        for _ in range(rounds):
            for name, strategy in strategies.items():
                ask = partial(once, start, blocks, strategy, price=prices[name])
                samples[name].append(one_round(ask, burners, apart[name], neighbours))
    for burner in [*burners, *(each for pair in apart.values() for each in pair)]:
        burner.end()
    return summed(samples, str(neighbours)) | {"start": start_up(rounds)}


def one_round(
    ask: Callable[[Kind], tuple[float, float, Any]], burners: list[Worker], apart: list[Worker], neighbours: Neighbours
) -> dict[str, Any]:
    """Measure a strategy under every kind: the other kinds between runs here, all between looks at the ceiling.

    How fast a machine is that others use changes within a minute, so what is compared is taken side by side.
    """
    ceilings, here = [neighbours.measured(lambda: ceiling_of(burners))[0]], [timed(ask, Kind.SYNCHRONOUS, neighbours)]
    answers, taken = [here[0][2]], {}
    for kind in (Kind.THREADS, Kind.PROCESSES):
        taken[kind] = timed(ask, kind, neighbours)
        here.append(timed(ask, Kind.SYNCHRONOUS, neighbours))
        answers += [taken[kind][2], here[-1][2]]
    own_ceiling, _ = neighbours.measured(lambda: ceiling_of(apart))
    ceilings.append(neighbours.measured(lambda: ceiling_of(burners))[0])
    if not all(answer.equals(answers[0]) for answer in answers):
        raise SystemExit("benchmark: signals under threads or processes are others than synchronous ones")
    beside = {kind: (here[place][0] + here[place + 1][0]) / 2 for place, kind in enumerate(taken)}
    return {
        "ceiling": sum(ceilings) / len(ceilings),
        "own_ceiling": own_ceiling,
        "here": median(seconds for seconds, *_ in here),
        **{kind: {"seconds": taken[kind][0], "idle": taken[kind][1], "here": beside[kind]} for kind in taken},
    }


def timed(
    ask: Callable[[Kind], tuple[float, float, Any]], kind: Kind, neighbours: Neighbours
) -> tuple[float, float, Any]:
    """Return what the second of two runs in a row took: memory that rested is not what is asked about."""
    ask(kind)
    return neighbours.measured(lambda: ask(kind))[0]


def start_up(rounds: int) -> dict[str, float]:
    """Return the seconds of one import of what a worker needs, and of a pool of two to its results; medians."""
    imports = f"import {', '.join(workers.PRELOADED)}"
    pairs = [(seconds([sys.executable, "-c", imports]), seconds([sys.executable, "-c", POOL])) for _ in range(rounds)]
    return {
        "import_seconds": median(one for one, _ in pairs),
        "pool_seconds": median(pool for _, pool in pairs),
        "ratio": median(pool / one for one, pool in pairs),
    }


def file_of(name: str) -> str:
    return str(HERE / "strategies" / f"{name.partition(',')[0]}.py")


def asked_apart(store: str, name: str) -> list[Worker]:
    """Start processes of their own that ask a strategy about every second block of a store."""
    words = (store, file_of(name), str(CORES), json.dumps(STRATEGIES[name]))
    return [Worker(sys.executable, "-c", APART, *words) for _ in range(CORES)]


def ceiling_of(burners: list[Worker]) -> float:
    """Return how many times as much all of them do together as one alone in the same time."""
    alone = median(burner.work()["seconds"] for burner in burners)
    for burner in burners:
        burner.ask()
    together = [burner.answer()["seconds"] for burner in burners]
    return sum(alone / each for each in together)


def once(start: Kept, blocks: list[Block], strategy: Strategy, kind: Kind, price: float) -> tuple[float, float, Any]:
    """Return the seconds that a strategy takes over all blocks, the idle part of it, and its signals."""
    count = 1 if kind is Kind.SYNCHRONOUS else CORES
    costs = []

    def hear(event: Event) -> None:
        if isinstance(event, PartitionFinished):
            costs.append(event.cost)

    tasks = split(blocks, count, price)
    with start(Choice(kind, count, "benchmark")) as place:
        began = perf_counter()
        parts = build.signals(tasks, strategy, (None, None), place, hear)
        seconds = perf_counter() - began
    return seconds, idle(costs) or 0.0, build.by_session(parts)


def summed(samples: dict[str, list[dict[str, Any]]], noise: str) -> dict[str, Any]:
    rounds = [each for own in samples.values() for each in own]
    figures: dict[str, Any] = {"ceiling": median(each["ceiling"] for each in rounds), "noise": noise}
    for name, own in samples.items():
        figures[f"{name} synchronous"] = {"seconds": median(each["here"] for each in own)}
        for kind in (Kind.THREADS, Kind.PROCESSES):
            faster = [each[kind]["here"] / each[kind]["seconds"] for each in own]
            figures[f"{name} {kind}"] = {
                "seconds": median(each[kind]["seconds"] for each in own),
                "times_faster": median(faster),
                "of_ceiling": median(ratio / each["ceiling"] for ratio, each in zip(faster, own, strict=True)),
                "of_own_ceiling": median(ratio / each["own_ceiling"] for ratio, each in zip(faster, own, strict=True)),
                "rounds_of_ceiling": sorted(ratio / each["ceiling"] for ratio, each in zip(faster, own, strict=True)),
                "must": MUSTS.get((name, kind)),
                "idle": median(each[kind]["idle"] for each in own),
            }
    return figures


def table(figures: dict[str, Any]) -> str:
    lines = [
        (
            f"efficiency: two processes apart do {figures['ceiling']:.2f} times the work of one (the ceiling); "
            f"{figures['noise']}; signals the same under every kind"
        )
    ]
    start = figures["start"]
    lines.append(
        f"workers start in {start['pool_seconds']:.2f} s, {start['ratio']:.2f} times one import of what they need, "
        f"{start['import_seconds']:.2f} s (must: 1.5)"
    )
    for name, each in figures.items():
        if name.endswith(Kind.SYNCHRONOUS):
            lines.append(f"{name:<32}{each['seconds']:>8.3f} s")
        elif isinstance(each, dict) and "times_faster" in each:
            must = "" if each["must"] is None else f" (must: {each['must']:.0%})"
            low, high = each["rounds_of_ceiling"][0], each["rounds_of_ceiling"][-1]
            lines.append(
                f"{name:<32}{each['seconds']:>8.3f} s, {each['times_faster']:.2f} times as fast: "
                f"{each['of_ceiling']:.0%} of the ceiling{must}, {low:.0%} to {high:.0%} by round; "
                f"{each['of_own_ceiling']:.0%} of what two processes apart reach with this strategy; a worker idles "
                f"{each['idle']:.0%} of the time"
            )
    return "\n".join(lines)


if __name__ == "__main__":
    main()
