"""How fast this is, beside vectorbt on the same bars: ``make bench`` writes results.json and prints a table.

Both sides take turns in one run, repeat after repeat, so that a machine that is busy for a while slows both; figures
are medians, and what counts are the ratios. Bars come from BACKTEST_REAL_DATA, or from the seeded market where that
is not set. vectorbt lives in an environment of its own, ``benchmarks/.venv``. ``bench.py PART ...`` measures some parts
only: peers, scaling, efficiency, origin.
"""

import json
import os
import platform
import subprocess
import sys
import tempfile
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import Any

import pandas as pd

from pipeline import config
from pipeline.bars.blocks import blocks_of, load_block
from pipeline.bars.store import open_snapshot
from pipeline.run import run

HERE = Path(__file__).parent
PEERS = HERE / ".venv" / "bin" / "python"
REPEATS = 5
WHILE = 0.3  # seconds
BENCH = HERE / "bench.yaml"
RESULTS = HERE / "results.json"


def main() -> None:
    asked = sys.argv[1:] or list(PARTS)
    if unknown := set(asked) - set(PARTS):
        raise SystemExit(f"benchmark: {', '.join(sorted(unknown))} is no part of it; {', '.join(PARTS)} are.")
    results = json.loads(RESULTS.read_text()) if RESULTS.exists() else {}
    results["machine"] = {"cores": os.cpu_count(), "python": platform.python_version(), "system": platform.machine()}
    with tempfile.TemporaryDirectory() as folder:
        for part in asked:
            results |= PARTS[part](Path(folder))
            RESULTS.write_text(json.dumps(results, indent=1) + "\n")
    print(table(results))


def peers(place: Path) -> dict[str, dict]:
    """Ours beside vectorbt: in process, whole process, and the orders that differ."""
    own = [*source(), f"data.store={place}/store", f"output.dir={place}/runs"]
    outcome = run(config.load(BENCH, own))
    bars = place / "bars.parquet"
    adjusted_bars(place / "store").to_parquet(bars)
    return {
        "work": {"bars": outcome.rows["bars"], "source": own[0], "repeats": REPEATS},
        "in_process": in_process(own, bars),
        "whole_process": whole_process(own, bars, place),
        "difference": difference(outcome.run_dir, bars, place),
    }


def efficient(_: Path) -> dict[str, dict]:
    """What two cores do for signals (`efficiency`)."""
    from efficiency import efficiency

    return {"efficiency": efficiency(REPEATS)}


def against_origin(_: Path) -> dict[str, dict]:
    """What each step away from the architecture that this replaces is worth (`origin`)."""
    from origin import ROUNDS, origin

    return {"origin": origin(ROUNDS)}


def source() -> list[str]:
    """Return where the bars come from, as overrides of bench.yaml."""
    folder = os.environ.get("BACKTEST_REAL_DATA")
    if folder:
        return ["data.source=csv", f"data.path={folder}/sp500_daily", "data.file_pattern=DA-{symbol}-T-{date}.csv"]
    print("BACKTEST_REAL_DATA is not set: the bars are made up", file=sys.stderr)
    return ["data.source=synthetic", "data.synthetic.symbols=252", "data.synthetic.sessions=2520"]


def adjusted_bars(store: Path) -> pd.DataFrame:
    """Return the very prices that our side trades, so that differences are of rules and not of data."""
    snapshot = open_snapshot(store)
    columns = ("open", "close", "volume")
    return pd.concat(
        [load_block(block, columns).astype({"symbol": str}) for block in blocks_of(snapshot, list(snapshot.by_symbol))]
    )


class Worker:
    """A process that works once for every line it is sent, and answers how long it took."""

    def __init__(self, *command: str) -> None:
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        while self.process.stdout.readline().strip() != "ready":
            if self.process.poll() is not None:
                raise SystemExit(f"benchmark: {' '.join(command)} ended before it was ready")

    def work(self) -> dict[str, float]:
        self.ask()
        return self.answer()

    def work_warm(self) -> dict[str, float]:
        """Work for a while, then for another one, and answer for that: medians.

        After a rest it is memory, caches and the clock of the processor that take the time.
        """
        self._work_on()
        answers = self._work_on()
        return {name: median(answer[name] for answer in answers) for name in answers[0]}

    def _work_on(self) -> list[dict[str, float]]:
        began, answers = perf_counter(), []
        while not answers or perf_counter() - began < WHILE:
            answers.append(self.work())
        return answers

    def ask(self) -> None:
        self.process.stdin.write("\n")
        self.process.stdin.flush()

    def answer(self) -> dict[str, float]:
        return json.loads(self.process.stdout.readline())

    def end(self) -> None:
        self.process.stdin.close()
        self.process.wait()


def in_process(own: list[str], bars: Path) -> dict[str, float]:
    """Bars in memory to equity and fills, both sides warm, in turns."""
    peer = Worker(str(PEERS), str(HERE / "peer_vectorbt.py"), str(bars), "--serve")
    ours = Worker(sys.executable, str(HERE / "ours.py"), str(BENCH), *own)
    pairs = [(peer.work_warm(), ours.work_warm()) for _ in range(REPEATS)]
    peer.end()
    ours.end()
    theirs = median(sum(answer.values()) for answer, _ in pairs)
    simulator = median(answer["loop"] for answer, _ in pairs)
    signals, loop = (median(answer[name] for _, answer in pairs) for name in ("signals", "loop"))
    count = pairs[0][1]["bars"]
    return {
        "vectorbt_seconds": theirs,
        "vectorbt_from_signals_seconds": simulator,
        "ours_seconds": signals + loop,
        "times_faster": median(sum(a.values()) / (b["signals"] + b["loop"]) for a, b in pairs),
        "signals_bars_per_second": count / signals,
        "loop_bars_per_second": count / loop,
    }


def whole_process(own: list[str], bars: Path, place: Path) -> dict[str, float]:
    """Interpreter start to exit: ours from the store to the run directory, vectorbt's, and the mere imports."""
    commands = {
        "imports": [sys.executable, "-c", "import dask.dataframe, numba"],
        "ours": [sys.executable, "-m", "pipeline", "run", str(BENCH), *own],
        "ours_report": [sys.executable, "-m", "pipeline", "run", str(BENCH), *own, "output.report=true"],
        "vectorbt": [str(PEERS), str(HERE / "peer_vectorbt.py"), str(bars), str(place / "orders.parquet")],
    }
    rounds = [{name: seconds(command) for name, command in commands.items()} for _ in range(REPEATS)]
    return {
        **{f"{name}_seconds": median(each[name] for each in rounds) for name in commands},
        "ours_of_imports": median(each["ours"] / each["imports"] for each in rounds),
        "ours_of_vectorbt": median(each["ours"] / each["vectorbt"] for each in rounds),
        "report_adds_seconds": median(each["ours_report"] - each["ours"] for each in rounds),
    }


def seconds(command: list[str]) -> float:
    began = perf_counter()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    return perf_counter() - began


def difference(run_dir: str, bars: Path, place: Path) -> dict[str, int]:
    """Count the orders that only one side filled, or filled otherwise, and name the rule behind each."""
    from explain import explained

    fills = pd.read_parquet(Path(run_dir) / "fills.parquet")
    return explained(fills, pd.read_parquet(place / "orders.parquet"), pd.read_parquet(bars))


def scaled(place: Path) -> dict[str, Any]:
    """What a bar costs, however many symbols and years there are (`scaling`)."""
    from scaling import scaling

    return scaling(place)


PARTS = {
    "peers": peers,
    "scaling": scaled,
    "efficiency": efficient,
    "origin": against_origin,
}


def table(results: dict) -> str:
    """Return what is known: parts that were not measured this time stand as they were the last time."""
    return "\n\n".join(show(results) for part, show in SHOWN.items() if part in results)


def beside_vectorbt(results: dict) -> str:
    warm, cold = results["in_process"], results["whole_process"]
    rows = {
        "bars": f"{results['work']['bars']:,}; medians of {results['work']['repeats']}, both sides in turns",
        "in process, warm": f"vectorbt {warm['vectorbt_seconds']:.3f} s, ours {warm['ours_seconds']:.3f} s",
        "": f"{warm['times_faster']:.1f} times faster",
        "signals alone": f"{warm['signals_bars_per_second'] / 1e6:.0f} million bars per second on one core",
        "loop alone": f"{warm['loop_bars_per_second'] / 1e6:.0f} million bars per second",
        "whole process": f"vectorbt {cold['vectorbt_seconds']:.2f} s, ours {cold['ours_seconds']:.2f} s",
        "of vectorbt's": f"{cold['ours_of_vectorbt']:.2f}",
        "of mere imports": f"{cold['ours_of_imports']:.2f} times {cold['imports_seconds']:.2f} s",
        "report adds": f"{cold['report_adds_seconds']:.2f} s",
        **{f"orders, {name}": f"{count:,}" for name, count in results["difference"].items()},
    }
    return "\n".join(f"{label:<20} {value}" for label, value in rows.items())


def shown_scaling(results: dict) -> str:
    from scaling import table

    return table(results)


def shown_efficiency(results: dict) -> str:
    from efficiency import table

    return table(results["efficiency"])


def shown_origin(results: dict) -> str:
    from origin import table

    return table(results["origin"])


SHOWN = {
    "work": beside_vectorbt,
    "scaling": shown_scaling,
    "efficiency": shown_efficiency,
    "origin": shown_origin,
}


if __name__ == "__main__":
    main()
