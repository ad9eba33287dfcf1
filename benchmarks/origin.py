"""Against the origin (``origin_threadpool.py``), step by step: ``python benchmarks/origin.py`` prints a table.

Three years of the 252 stocks take the origin minutes, so 40 sessions spread evenly over the span are timed and the sum
is extrapolated. Everything else is timed whole, warm, bars in memory to equity, in turns with it. Workers read their
bars from the store themselves.
"""

import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import Any

import numpy as np
import pandas as pd

from origin_threadpool import Opinion, by_dicts, by_session, in_threads, sma_cross
from pipeline import config
from pipeline.auto import assign
from pipeline.bars.blocks import Block, blocks_of, load_block
from pipeline.bars.periods import read_periods
from pipeline.bars.split import split
from pipeline.compute import workers
from pipeline.compute.choose import Choice
from pipeline.compute.scheduler import Kept, kept
from pipeline.events import ignore
from pipeline.modes import Kind
from pipeline.options import Options
from pipeline.signals import build
from pipeline.signals.partition import signals_of_block
from pipeline.signals.strategy import Strategy, load_strategy
from pipeline.trading.loop import trade_periods
from pipeline.upkeep import opened_store
from timed import BENCH, source

HERE = Path(__file__).parent
ROUNDS = 3
SESSIONS, SAMPLED = 756, 40  # three years; how many of them the origin is timed on
CORES = 2
EVERYTHING = (None, None)
LIGHT, HEAVY = "sma_cross", str(HERE / "strategies" / "heavy.py")
PARAMS: dict[str, dict[str, int]] = {LIGHT: {"fast": 10, "slow": 30}, HEAVY: {}}
SECONDS_PER_BAR = {LIGHT: 1e-7, HEAVY: 1e-6}  # about: how tasks are cut
CASES = {
    "1 stock": (LIGHT, 1),
    "11 stocks": (LIGHT, 11),
    "252 stocks": (LIGHT, 252),
    "252 stocks, complex": (HEAVY, 252),
}


@dataclass
class Case:
    """Some stocks under one strategy, everything in memory."""

    options: Options
    strategy: Strategy
    blocks: list[Block]
    frames: list[pd.DataFrame]
    bars: dict[str, pd.DataFrame]
    days: list[pd.Timestamp]
    periods: list[Any]
    symbols: list[str]
    scales: np.ndarray


def main() -> None:
    print(table(origin(int(sys.argv[1]) if len(sys.argv) > 1 else ROUNDS)))


def origin(rounds: int) -> dict[str, Any]:
    """Return the seconds of each step and case, medians, and how often origin and strategy disagree."""
    workers.prestart()
    with tempfile.TemporaryDirectory() as folder, kept() as start:
        own = [*three_years(Path(folder)), f"data.store={folder}/store", f"output.dir={folder}/runs"]
        cases = {name: case(own, *each) for name, each in CASES.items()}
        timed = [{name: once(each, start, number) for name, each in cases.items()} for number in range(rounds + 1)]
        days = {name: len(each.days) for name, each in cases.items()}
    figures: dict[str, Any] = {"sessions": max(days.values()), "sampled": SAMPLED, "cores": CORES, "cases": {}}
    for name in cases:
        rows = [each[name] for each in timed[1:]]  # the first one warms
        figures["cases"][name] = {
            "seconds": {step: median(row["seconds"][step] for row in rows) for step in rows[0]["seconds"]},
            "kind": rows[-1]["kind"],
            "fills": rows[-1]["fills"],
            "disagree": int(rows[-1]["disagree"]),
        }
    return figures


def three_years(folder: Path) -> list[str]:
    """Return a source that holds the last three years only, so that both sides have the same history."""
    whole = source()
    if whole[0] != "data.source=csv":
        return ["data.source=synthetic", "data.synthetic.symbols=252", f"data.synthetic.sessions={SESSIONS}"]
    files = sorted(Path(whole[1].partition("=")[2]).glob("*.csv"))
    tables = {file.name: pd.read_csv(file) for file in files}
    first = sorted({text for each in tables.values() for text in each.iloc[:, 0] if text[:1].isdigit()})[-SESSIONS]
    bars = folder / "bars"
    bars.mkdir()
    for name, each in tables.items():
        each[each.iloc[:, 0] >= first].to_csv(bars / name, index=False)
    return [whole[0], f"data.path={bars}", *whole[2:]]


def case(own: Sequence[str], name: str, count: int) -> Case:
    options = config.load(BENCH, [*own, f"strategy.name={name}", f"strategy.params={PARAMS[name]}"])
    snapshot, _ = opened_store(options, ignore)
    symbols = list(snapshot.by_symbol)[:count]
    strategy = load_strategy(name, PARAMS[name])
    blocks = blocks_of(snapshot, symbols)
    columns = ("open", "close")
    loaded = pd.concat([load_block(block, columns).astype({"symbol": str}) for block in blocks])
    bars = {symbol: each.set_index("session").drop(columns="symbol") for symbol, each in loaded.groupby("symbol")}
    return Case(
        options,
        strategy,
        blocks,
        [load_block(block, ("close",)) for block in blocks],
        bars,
        sorted(loaded["session"].unique()),
        list(read_periods(snapshot, symbols, ["open", "close", "volume", "factor"], None, None)),
        symbols,
        np.array([snapshot.by_symbol[symbol].scale for symbol in symbols]),
    )


def opinion_of(strategy: Strategy) -> Opinion:
    if strategy.name == LIGHT:
        return sma_cross
    signal = strategy.function()
    return lambda history: signal(history)[-1]


def once(each: Case, start: Kept, number: int) -> dict[str, Any]:
    """Time the origin and every step away from it."""
    opinion, seconds = opinion_of(each.strategy), {}
    if number:
        seconds["origin"], seen = extrapolated(each, opinion)
    else:
        seen = {}
    seconds["threads"] = in_threads(each.bars, each.strategy.function())
    here, parts = vectorised(each)
    processes, other = on(Choice(Kind.PROCESSES, CORES, "benchmark"), each, start)
    changes = build.by_session(parts)
    assert build.by_session(other).equals(changes)
    dicts, portfolio = by_dicts(each.bars, each.days, changes)
    compiled, fills = by_kernel(each, changes)
    seconds |= {
        "vectorised": here + dicts,
        "processes": processes + dicts,
        "compiled": here + compiled,
        "all": processes + compiled,
        "signals": here,
        "signals_processes": processes,
        "loop_dicts": dicts,
        "loop_compiled": compiled,
    }
    taken, kind, fills_auto = by_auto(each, start)
    seconds["auto"] = taken
    assert fills_auto == fills
    return {"seconds": seconds, "kind": kind, "fills": [portfolio.fills, fills], "disagree": disagreeing(changes, seen)}


def extrapolated(each: Case, opinion: Opinion) -> tuple[float, dict[tuple[str, pd.Timestamp], float]]:
    """Return what the origin would take for all sessions, and the opinions that it came to in the sampled ones."""
    sampled = [each.days[place] for place in np.linspace(0, len(each.days) - 1, SAMPLED).round().astype(int)]
    seconds, seen = by_session(each.bars, sampled, opinion)
    return seconds * len(each.days) / len(sampled), seen


def vectorised(each: Case) -> tuple[float, list[pd.DataFrame]]:
    began = perf_counter()
    ask = {"strategy": each.strategy, "known": ("close",), "span": EVERYTHING}
    parts = [signals_of_block(frame, **ask) for frame in each.frames]
    return perf_counter() - began, parts


def on(choice: Choice, each: Case, start: Kept) -> tuple[float, list[pd.DataFrame]]:
    with start(choice) as place:
        began = perf_counter()
        tasks = split(each.blocks, choice.workers, SECONDS_PER_BAR[LIGHT if each.strategy.name == LIGHT else HEAVY])
        parts = build.signals(tasks, each.strategy, EVERYTHING, place)
        return perf_counter() - began, parts


def by_auto(each: Case, start: Kept) -> tuple[float, str, int]:
    """Return the seconds of everything, choosing included, what was chosen, and the number of fills."""
    began = perf_counter()
    assigned = assign(each.blocks, each.strategy, each.options, start, ignore)
    with start(assigned.choice) as place:
        parts = [*assigned.parts, *build.signals(assigned.tasks, each.strategy, EVERYTHING, place)]
    signals = perf_counter() - began
    compiled, fills = by_kernel(each, build.by_session(parts))
    return signals + compiled, assigned.choice.kind.value, fills


def by_kernel(each: Case, changes: pd.DataFrame) -> tuple[float, int]:
    began = perf_counter()
    ledger = trade_periods(each.periods, each.symbols, each.scales, changes, each.options.trading)
    return perf_counter() - began, len(ledger.fills)


def disagreeing(changes: pd.DataFrame, seen: Mapping[tuple[str, pd.Timestamp], float]) -> int:
    """Count the sampled opinions of the origin that are not those of the vectorised strategy."""
    told = {str(name): each.set_index("session")["signal"] for name, each in changes.groupby("symbol", observed=True)}
    count = 0
    for (symbol, day), opinion in seen.items():
        before = told[symbol][:day] if symbol in told else ()
        ours = before.iloc[-1] if len(before) else 0.0
        count += not np.isnan(opinion) and opinion != ours
    return count


def table(figures: dict[str, Any]) -> str:
    lines = [
        (
            f"against the origin, {figures['sessions']} sessions, {figures['cores']} cores; the origin is timed on "
            f"{figures['sampled']} sessions and extrapolated"
        )
    ]
    for name, each in figures["cases"].items():
        took = each["seconds"]
        fills, same = each["fills"], each["disagree"]
        lines += [
            f"{name}: origin {took['origin']:.2f} s; {same} sampled opinions differ; fills {fills[0]:,}, {fills[1]:,}",
            *(
                f"  {label:<38}{took[step]:>10.4f} s {took['origin'] / took[step]:>10,.0f} times as fast"
                for label, step in STEPS.items()
            ),
            alone(took, figures["cores"]),
            f"  auto took {each['kind']}",
        ]
    return "\n".join(lines)


def alone(took: Mapping[str, float], cores: int) -> str:
    gain = took["threads"] / took["signals_processes"]
    return (
        f"  signals alone: a thread pool {took['threads']:.4f} s, here {took['signals']:.4f} s, processes "
        f"{took['signals_processes']:.4f} s: {gain:.2f} times as fast as threads, {gain / cores:.2f} per core; "
        f"loop of dicts {took['loop_dicts']:.4f} s, compiled {took['loop_compiled']:.4f} s"
    )


STEPS = {
    "vectorised signals, loop of dicts": "vectorised",
    "vectorised, processes, loop of dicts": "processes",
    "vectorised, compiled loop": "compiled",
    "all three": "all",
    "what auto chooses, choosing included": "auto",
}


if __name__ == "__main__":
    main()
