"""What ``kind: auto`` picks, and what every kind takes: ``python benchmarks/grid.py [ROUNDS [FILE]]`` prints a table.

Sizes x strategies x store in the page cache or not. In each cell every kind runs in turns, round after round, so that
a machine that is busy for a while slows all of them; figures are medians. What is timed is the whole of what depends on
the kind: choosing, starting, signals, ending; each is a run of `pipeline.run.run`, and all must have one digest.

``auto`` runs twice: as on the first night, when a probe has to tell, and with runs to go by. Beside it stands the rule
that this replaces, by the number of symbols, with workers from a warm fork server, and with spawned ones.
"""

import json
import os
import sys
import tempfile
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from multiprocessing import get_context
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import Any

from pipeline import config
from pipeline.bars.store import open_snapshot
from pipeline.compute import workers
from pipeline.compute.choose import Choice, by_counts
from pipeline.compute.scheduler import Scheduler, start
from pipeline.events import Event, Stage, StageStarted
from pipeline.garbage import settle
from pipeline.modes import Kind
from pipeline.outcome import Outcome
from pipeline.run import run
from quiet import Neighbours, quiet_median
from timed import BENCH, source

HERE = Path(__file__).parent
ROUNDS = 5
SIZES = (1, 3, 10, 50, 252)
STRATEGIES = {
    "light": "sma_cross",
    "medium": str(HERE / "strategies" / "medium.py"),
    "heavy": str(HERE / "strategies" / "heavy.py"),
}
STORES = ("warm", "cold")
KINDS = ("synchronous", "threads", "processes", "distributed")
WAYS = (*KINDS, "spawned", "auto", "auto again")
ALIKE = 1.15  # a pick within this ratio of the fastest is as good
PROBE_SHARE, PROBE_SECONDS = 0.05, 0.05  # what a probe may cost, the larger of the two


class Watch:
    """A listener that times what depends on the kind: from choosing to the first bar that is traded."""

    def __init__(self) -> None:
        self.began = self.ended = 0.0

    def __call__(self, event: Event) -> None:
        if isinstance(event, StageStarted):
            if event.stage is Stage.CHOOSE:
                self.began = perf_counter()
            elif event.stage is Stage.TRADING:
                self.ended = perf_counter()


@contextmanager
def spawned(choice: Choice, **_: Any) -> Iterator[Scheduler]:
    """Start workers as Dask does by itself: new interpreters."""
    pool = ProcessPoolExecutor(choice.workers, mp_context=get_context("spawn"), initializer=workers.prepare)
    scheduler = Scheduler(choice, pool=pool)
    try:
        yield scheduler
    finally:
        scheduler.end(at_once=False)


def main() -> None:
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else ROUNDS
    settle()  # as commands do
    workers.prestart()
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        own = [*source(), f"data.store={place}/store"]
        run(config.load(BENCH, [*own, f"output.dir={place}/first"]))
        snapshot = open_snapshot(place / "store")
        files = [snapshot.path(part) for part in snapshot.manifest.parts]
        cells = {
            f"{store} {name} {size}": cell(own, sorted(snapshot.by_symbol), size, name)
            for store in STORES
            for name in STRATEGIES
            for size in SIZES
        }
        neighbours = Neighbours()
        for number in range(rounds):
            for name, each in cells.items():
                once(each, files if name.startswith("cold") else [], place, number, neighbours)
                print(f"round {number + 1} of {rounds}: {name}, {neighbours}", file=sys.stderr)
            summary = {name: summed(each) for name, each in cells.items()}
            if len(sys.argv) > 2:
                Path(sys.argv[2]).write_text(json.dumps(summary, indent=1) + "\n")
    print(table(summary))
    print(neighbours)


def cell(own: list[str], symbols: list[str], size: int, strategy: str) -> dict[str, Any]:
    """Return a cell with nothing measured yet; its symbols are spread over all of them."""
    chosen = [symbols[number * len(symbols) // size] for number in range(min(size, len(symbols)))]
    quoted = json.dumps(chosen)
    return {
        "size": size,
        "strategy": strategy,
        "options": [
            *own,
            f"strategy.name={STRATEGIES[strategy]}",
            f"strategy.params={'{fast: 10, slow: 30}' if strategy == 'light' else '{}'}",
            f"data.symbols={quoted}",
        ],
        "seconds": {way: [] for way in WAYS},
        "picks": [],
        "digests": set(),
    }


def once(each: dict[str, Any], files: list[Path], place: Path, number: int, neighbours: Neighbours) -> None:
    """Run a cell every way; the order of the ways changes from round to round."""
    remembered = place / "runs" / f"{each['strategy']}-{each['size']}"
    ways = WAYS[number % len(KINDS) : len(KINDS)] + WAYS[: number % len(KINDS)] + WAYS[len(KINDS) :]
    for way in ways:
        kind = "auto" if way.startswith("auto") else "processes" if way == "spawned" else way

        def work(way: str = way, kind: str = kind) -> tuple[float, Outcome]:
            folder = place / f"fresh{perf_counter()}" if way in {"auto", "spawned"} else remembered
            own = [*each["options"], f"scheduler.kind={kind}", f"output.dir={folder}"]
            forget(files)
            watch = Watch()
            outcome = run(config.load(BENCH, own), watch, start=spawned if way == "spawned" else start)
            return watch.ended - watch.began, outcome

        (seconds, outcome), is_quiet = neighbours.measured(work)
        each["seconds"][way].append((seconds, is_quiet))
        each["digests"].add(outcome.result_digest)
        if kind == "auto":
            each["picks"].append(pick(outcome, way))


def pick(outcome: Outcome, way: str) -> dict[str, Any]:
    kind, reason = outcome.scheduler["kind"], outcome.scheduler["reason"]
    return {"way": way, "kind": kind, "reason": reason, "choose": outcome.stages["choose"]}


def forget(files: list[Path]) -> None:
    """Let the kernel drop files from its page cache."""
    for path in files:
        descriptor = os.open(path, os.O_RDONLY)
        os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
        os.close(descriptor)


def summed(each: dict[str, Any]) -> dict[str, Any]:
    """Return a cell's medians, what was picked, and how that compares with the fastest kind."""
    assert len(each["digests"]) == 1, each
    seconds = {way: quiet_median(taken) for way, taken in each["seconds"].items()}
    fastest = min(KINDS, key=lambda kind: seconds[kind])
    picks = {way: [one["kind"] for one in each["picks"] if one["way"] == way] for way in ("auto", "auto again")}
    picked = {way: max(set(kinds), key=kinds.count) for way, kinds in picks.items()}
    ratios = {way: seconds[kind] / seconds[fastest] for way, kind in picked.items()}
    slower = {way: is_slower(each["seconds"], kind, fastest) for way, kind in picked.items()}
    return {
        "seconds": seconds,
        "fastest": fastest,
        "picked": picked,
        "all_picks": picks,
        "ratios": ratios,
        "slower": slower,
        "rule": by_counts(config.load(BENCH, []).scheduler.auto, each["size"]).value,
        "reasons": {way: next(one["reason"] for one in reversed(each["picks"]) if one["way"] == way) for way in picked},
        "samples": each["seconds"],
        "choose": median(one["choose"] for one in each["picks"] if one["way"] == "auto"),
    }


def is_slower(seconds: dict[str, list[tuple[float, bool]]], kind: str, fastest: str) -> bool:
    """Return whether a kind took more than `ALIKE` times what the fastest did, in each round.

    A sign test: of two that are alike, N rounds would say so once in 2^N times.
    """
    pairs = zip(seconds[kind], seconds[fastest], strict=True)
    return all(mine > ALIKE * theirs for (mine, _), (theirs, _) in pairs)


def table(cells: dict[str, dict[str, Any]]) -> str:
    head = f"{'':<16}" + "".join(f"{way[:11]:>12}" for way in WAYS)
    head += f"   picked (first, later), ratio to the fastest; above {ALIKE} by the medians (?), in every round (!)"
    lines = [head]
    for name, each in cells.items():
        figures = "".join(f"{each['seconds'][way]:>12.3f}" for way in WAYS)
        shown = ", ".join(f"{kind} {each['ratios'][way]:.2f}{mark(each, way)}" for way, kind in each["picked"].items())
        lines.append(f"{name:<16}{figures}   {shown}")
    return "\n".join([*lines, *sums(cells), *verdicts(cells)])


def mark(each: dict[str, Any], way: str) -> str:
    return "!" if each["slower"][way] else "?" if each["ratios"][way] > ALIKE else ""


def verdicts(cells: dict[str, dict[str, Any]]) -> list[str]:
    """Return in how many cells a pick is as good as the fastest kind, and a probe costs no more than it may."""
    each = cells.values()
    good = {way: sum(one["ratios"][way] <= ALIKE for one in each) for way in ("auto", "auto again")}
    slower = {way: sum(one["slower"][way] for one in each) for way in good}
    costs = [(one["seconds"]["auto"], one["seconds"][one["picked"]["auto"]]) for one in each]
    cheap = sum(auto - named <= max(PROBE_SHARE * named, PROBE_SECONDS) for auto, named in costs)
    return [
        (
            f"picked the fastest kind or one within {ALIKE} of it: {good['auto']} of {len(each)} cells when it probed, "
            f"{good['auto again']} by earlier runs; slower than that in every round: {slower['auto']} and "
            f"{slower['auto again']} cells"
        ),
        (
            f"took no longer than the kind it picked, named, and {PROBE_SHARE:.0%} or {1e3 * PROBE_SECONDS:.0f} ms: "
            f"{cheap} of {len(each)} cells"
        ),
    ]


def sums(cells: dict[str, dict[str, Any]]) -> list[str]:
    """Return the seconds over the grid of the oracle, of auto, of the rule by counts, and of every single kind."""
    each = cells.values()
    oracle = sum(one["seconds"][one["fastest"]] for one in each)
    totals = {
        "oracle": oracle,
        "auto, probing": sum(one["seconds"]["auto"] for one in each),
        "auto, by runs": sum(one["seconds"]["auto again"] for one in each),
        "3/10, warm": sum(one["seconds"][one["rule"]] for one in each),
        "3/10, spawned": sum(
            one["seconds"]["spawned" if one["rule"] == Kind.PROCESSES else one["rule"]] for one in each
        ),
        **{kind: sum(one["seconds"][kind] for one in each) for kind in KINDS},
    }
    return [f"{name:<16}{total:>12.2f} s {total / oracle:>8.2f}" for name, total in totals.items()]


if __name__ == "__main__":
    main()
