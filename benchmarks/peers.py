"""Ours beside vectorbt, on the same bars, both sides in turns."""

import sys
from pathlib import Path
from statistics import median

import pandas as pd

from explain import explained
from pipeline import config
from pipeline.bars.blocks import blocks_of, load_block
from pipeline.bars.store import open_snapshot
from pipeline.run import run
from timed import BENCH, HERE, REPEATS, Worker, seconds, source

PEERS = HERE / ".venv" / "bin" / "python"


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


def adjusted_bars(store: Path) -> pd.DataFrame:
    """Return the very prices that our side trades, so that differences are of rules and not of data."""
    snapshot = open_snapshot(store)
    columns = ("open", "close", "volume")
    return pd.concat(
        [load_block(block, columns).astype({"symbol": str}) for block in blocks_of(snapshot, list(snapshot.by_symbol))]
    )


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


def difference(run_dir: str, bars: Path, place: Path) -> dict[str, int]:
    """Count the orders that only one side filled, or filled otherwise, and name the rule behind each."""
    fills = pd.read_parquet(Path(run_dir) / "fills.parquet")
    return explained(fills, pd.read_parquet(place / "orders.parquet"), pd.read_parquet(bars))


def table(results: dict) -> str:
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
