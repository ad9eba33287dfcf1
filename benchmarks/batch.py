"""What a batch costs beside its runs: 200 of them over the sample, reports off.

    PYTHONPATH=. .venv/bin/python benchmarks/batch.py [RUNS] [ROUNDS]

Two ways to make the same runs take turns, so that a busy machine slows both; figures are medians of the rounds.

- ``run``: `pipeline.run.run` in a loop, in one process with a warm scheduler: the runs themselves;
- ``batch``: the command, from its call to its exit, start-up included;
- ``batch, run to run``: in the same batch, from the end of its first run to the end of its last one.
"""

import json
import shutil
import subprocess
import sys
import tempfile
import time
from datetime import datetime
from pathlib import Path
from statistics import median

from pipeline import config
from pipeline.compute import scheduler
from pipeline.run import run

ROOT = Path(__file__).resolve().parents[1]
SAMPLE = ROOT / "conf" / "sample.yaml"


def main(runs: int = 200, rounds: int = 3) -> None:
    """Measure and print."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        settings = {"data.store": f"{folder}/store", "output.dir": f"{folder}/runs", "output.report": "false"}
        common = "".join(f"  {key}: {value}\n" for key, value in settings.items())
        vary = f"{{trading.cash: {[1_000_000 + number for number in range(runs)]}}}"
        (folder / "many.yaml").write_text(f"set:\n{common}runs:\n- {{conf: {SAMPLE}, vary: {vary}}}\n")
        overrides = [f"{key}={value}" for key, value in settings.items()]
        run(config.load(SAMPLE, overrides, {}))
        seen = [one_round(folder, overrides, runs) for _ in range(rounds)]
    for key in seen[0]:
        print(f"{key:28}{median(each[key] for each in seen):8.1f} ms a run   {[round(each[key], 1) for each in seen]}")
    own = [each["batch, run to run"] - each["run"] for each in seen]
    whole = [each["batch, the command"] - each["run"] for each in seen]
    rounded = [round(each, 1) for each in own]
    print(f"overhead per run {median(own):.1f} ms {rounded}; {median(whole):.1f} ms with start-up")


def one_round(folder: Path, overrides: list[str], runs: int) -> dict[str, float]:
    """Return milliseconds a run, each way."""
    seconds = {}
    shutil.rmtree(folder / "runs")
    with scheduler.kept() as start:
        began = time.perf_counter()
        for number in range(runs):
            run(config.load(SAMPLE, [*overrides, f"trading.cash={1_000_000 + number}"], {}), start=start)
        seconds["run"] = time.perf_counter() - began
    shutil.rmtree(folder / "runs")
    began = time.perf_counter()
    words = [sys.executable, "-m", "pipeline", "batch", folder / "many.yaml", "--json"]
    done = subprocess.run(words, cwd=ROOT, capture_output=True, check=True)
    seconds["batch, the command"] = time.perf_counter() - began
    told = json.loads(done.stdout)
    lines = [json.loads(line) for line in (Path(told["folder"]) / "log.jsonl").read_text().splitlines()]
    ends = [datetime.fromisoformat(line["ts"]).timestamp() for line in lines if line["event"] == "run_end"]
    seconds["batch, run to run"] = (ends[-1] - ends[0]) * runs / (runs - 1)
    return {name: 1000 * value / runs for name, value in seconds.items()}


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
