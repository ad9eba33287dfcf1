"""What a bar costs, however many symbols and years there are: signals, trading loop, and the strategy alone."""

import sys
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

from pipeline import config
from pipeline.run import run
from timed import BENCH, HERE, REPEATS, Worker

SYMBOLS = (10, 50, 100, 250, 500)
YEARS = (1, 5, 10, 20)
START_UP = "start-up"


def scaling(place: Path) -> dict[str, Any]:
    """What signals, loop and the strategy alone take by number of symbols (10 years) and by years (100 symbols).

    Nanoseconds per bar, without what one symbol and one month take, which stands for itself [ms]; and `linear`.
    """
    cases = {START_UP: (1, 21)}
    cases |= {f"{count} symbols": (count, 2520) for count in SYMBOLS}
    cases |= {f"{years} years": (100, 252 * years) for years in YEARS}
    workers = {}
    for name, (symbols, sessions) in cases.items():
        own = [
            "data.source=synthetic",
            f"data.synthetic.symbols={symbols}",
            f"data.synthetic.sessions={sessions}",
            "data.synthetic.start=2000-01-03",
            f"data.store={place}/{symbols}x{sessions}",
        ]
        run(config.load(BENCH, [*own, f"output.dir={place}/runs"]))
        workers[name] = Worker(sys.executable, str(HERE / "ours.py"), str(BENCH), *own)
    rounds = [{name: worker.work_warm() for name, worker in workers.items()} for _ in range(REPEATS)]
    for worker in workers.values():
        worker.end()
    bars = {name: int(rounds[0][name]["bars"]) for name in cases}
    seconds = {
        stage: {name: median(each[name][stage] for each in rounds) for name in cases}
        for stage in ("signals", "loop", "strategy")
    }
    fixed = {stage: taken[START_UP] for stage, taken in seconds.items()}
    per_bar = {
        name: {stage: 1e9 * (taken[name] - fixed[stage]) / bars[name] for stage, taken in seconds.items()}
        for name in list(cases)[1:]
    }
    asked, marked = ({name: case[place] for name, case in cases.items()} for place in range(2))
    return {
        "scaling": {START_UP: {stage: 1e3 * taken for stage, taken in fixed.items()}, **per_bar},
        "linear": {
            "signals": linear(seconds["signals"], asked, bars),
            "loop": linear(seconds["loop"], marked, bars),
        },
    }


def linear(seconds: dict[str, float], sizes: dict[str, int], bars: dict[str, int]) -> dict[str, float]:
    """Fit seconds as fixed + size x each + bars x per bar, by relative errors; and by how much the worst case differs.

    A strategy is asked symbol by symbol, and an account marked session by session, however many bars they have.
    """
    parts = np.array([[1.0 / taken, sizes[name] / taken, bars[name] / taken] for name, taken in seconds.items()])
    fixed, each, per_bar = np.linalg.lstsq(parts, np.ones(len(parts)), rcond=None)[0]
    worst = float(np.abs(parts @ [fixed, each, per_bar] - 1).max())
    return {"fixed": float(fixed), "each": float(each), "per_bar": float(per_bar), "worst": worst}


def table(results: dict) -> str:
    costs = [
        f"  {name:<12} {cost['signals']:7.1f} {cost['loop']:7.1f} {cost['strategy']:7.1f}"
        for name, cost in results["scaling"].items()
    ]
    fits = [
        f"{stage}: {1e3 * fit['fixed']:.1f} ms, {1e6 * fit['each']:.1f} microseconds a {unit} and "
        f"{1e9 * fit['per_bar']:.1f} ns a bar; every case within {fit['worst']:.0%} of that"
        for (stage, fit), unit in zip(results["linear"].items(), ("symbol", "session"), strict=True)
    ]
    return "\n".join(
        [
            "cost per bar: nanoseconds of signals, loop, and the strategy alone; start-up (milliseconds) aside",
            *costs,
            *fits,
        ]
    )
