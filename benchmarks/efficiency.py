"""How much of the cores workers use, once they run: ``python benchmarks/efficiency.py [ROUNDS]`` prints a table.

Three strategies over the 252 stocks, each here, in threads and in processes, in turns, each time right after the same
work by the same workers; and in the same minutes what two processes reach that have nothing to do with each other and
compute all the time, which is the ceiling. A second core is rarely worth a whole one: memory, caches and neighbours
are shared. How much of that is due to the strategy, and to nothing of ours, is told by two processes apart that ask
the same strategy (`APART`).
"""

import json
import sys
import tempfile
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import Any

from bench import BENCH, REPEATS, Worker, seconds, source
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
from quiet import Neighbours, quiet_median

HERE = Path(__file__).parent
CORES = 2
STRATEGIES: dict[str, dict[str, int]] = {"heavy": {"averages": 8}, "medium": {}, "windows": {}}
KINDS = (Kind.SYNCHRONOUS, Kind.THREADS, Kind.PROCESSES)
MUSTS = {("heavy", Kind.PROCESSES): 0.93, ("medium", Kind.PROCESSES): 0.93, ("windows", Kind.THREADS): 0.85}
BURNER = """
import sys, time
print("ready", flush=True)
for _ in sys.stdin:
    began, total = time.perf_counter(), 0
    for number in range(12_000_000):
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
    """Return seconds, speed-up and its part of the ceiling, by strategy and kind; medians."""
    settle()  # as commands do, and as workers begin
    workers.prestart()
    burners = [Worker(sys.executable, "-c", BURNER) for _ in range(CORES)]
    neighbours = Neighbours()
    ceilings: list[tuple[float, bool]] = []
    cells: dict[str, list[tuple[float, bool]]] = {f"{name} {kind}": [] for name in STRATEGIES for kind in KINDS}
    idles: dict[str, list[float]] = {name: [] for name in cells}
    with tempfile.TemporaryDirectory() as folder, kept() as start:
        own = [*source(), f"data.store={folder}/store"]
        snapshot, _ = opened_store(config.load(BENCH, own), lambda _: None)
        blocks = blocks_of(snapshot, list(snapshot.by_symbol))
        strategies = {name: load_strategy(file_of(name), params) for name, params in STRATEGIES.items()}
        apart = {name: asked_apart(f"{folder}/store", name) for name in STRATEGIES}
        prices = {name: probe(blocks, each, (None, None)).seconds_per_row for name, each in strategies.items()}
        alike: dict[str, list[tuple[float, bool]]] = {name: [] for name in STRATEGIES}
        for number in range(rounds + 1):  # the first one warms
            answers: dict[str, Any] = {}
            for name, strategy in strategies.items():
                ceiling = neighbours.measured(lambda: ceiling_of(burners))
                ceilings += [ceiling] * (number > 0)
                alike[name] += [neighbours.measured(lambda name=name: ceiling_of(apart[name]))] * (number > 0)
                for kind in KINDS:
                    once(start, blocks, strategy, kind, prices[name])  # else memory that rested is what is timed
                    (seconds, waited, answer), is_quiet = neighbours.measured(
                        lambda each=strategy, kind=kind, price=prices[name]: once(start, blocks, each, kind, price)
                    )
                    if number:
                        cells[f"{name} {kind}"].append((seconds, is_quiet))
                        idles[f"{name} {kind}"].append(waited)
                    if not answers.setdefault(name, answer).equals(answer):
                        raise SystemExit(f"benchmark: signals of {name} under {kind} are others than synchronous ones")
    for burner in [*burners, *(each for pair in apart.values() for each in pair)]:
        burner.end()
    own_ceilings = {name: quiet_median(samples) for name, samples in alike.items()}
    figures = summed(cells, idles, quiet_median(ceilings), own_ceilings, str(neighbours))
    return figures | {"start": start_up(rounds)}


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
    return str(HERE / "strategies" / f"{name}.py")


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


def summed(
    cells: dict[str, list[tuple[float, bool]]],
    idles: dict[str, list[float]],
    ceiling: float,
    own_ceilings: dict[str, float],
    noise: str,
) -> dict[str, Any]:
    figures: dict[str, Any] = {"ceiling": ceiling, "noise": noise}
    for name in STRATEGIES:
        here = quiet_median(cells[f"{name} {Kind.SYNCHRONOUS}"])
        for kind in KINDS:
            seconds = quiet_median(cells[f"{name} {kind}"])
            figures[f"{name} {kind}"] = {
                "seconds": seconds,
                "times_faster": here / seconds,
                "of_ceiling": here / seconds / ceiling,
                "of_own_ceiling": here / seconds / own_ceilings[name],
                "must": MUSTS.get((name, kind)),
                "idle": median(idles[f"{name} {kind}"]),
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
        if isinstance(each, dict) and "times_faster" in each:
            must = "" if each["must"] is None else f" (must: {each['must']:.0%})"
            lines.append(
                f"{name:<22}{each['seconds']:>8.3f} s, {each['times_faster']:.2f} times as fast: "
                f"{each['of_ceiling']:.0%} of the ceiling{must}, {each['of_own_ceiling']:.0%} of what two processes "
                f"apart reach with this strategy; a worker idles {each['idle']:.0%} of the time"
            )
    return "\n".join(lines)


if __name__ == "__main__":
    main()
