"""How fast this is, beside vectorbt on the same bars: ``make bench`` writes results.json and prints a table.

Both sides take turns in one run, repeat after repeat, so that a machine that is busy for a while slows both; figures
are medians, and what counts are the ratios. Bars come from BACKTEST_REAL_DATA, or from the seeded market where that
is not set. vectorbt lives in an environment of its own, ``benchmarks/.venv``. ``bench.py PART ...`` measures some parts
only: peers, scaling, efficiency, origin.
"""

import json
import os
import platform
import sys
import tempfile
from pathlib import Path

import efficiency
import origin
import peers
import scaling
from timed import HERE, REPEATS

RESULTS = HERE / "results.json"
PARTS = {
    "peers": peers.peers,
    "scaling": scaling.scaling,
    "efficiency": lambda _: {"efficiency": efficiency.efficiency(REPEATS)},
    "origin": lambda _: {"origin": origin.origin(origin.ROUNDS)},
}
SHOWN = {
    "work": peers.table,
    "scaling": scaling.table,
    "efficiency": lambda results: efficiency.table(results["efficiency"]),
    "origin": lambda results: origin.table(results["origin"]),
}


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


def table(results: dict) -> str:
    """Return what is known: parts that were not measured this time stand as they were the last time."""
    return "\n\n".join(show(results) for part, show in SHOWN.items() if part in results)


if __name__ == "__main__":
    main()
