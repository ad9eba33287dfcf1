"""What every benchmark shares: where the bars come from, processes that work when they are asked to, and commands."""

import json
import os
import subprocess
import sys
from pathlib import Path
from statistics import median
from time import perf_counter

HERE = Path(__file__).parent
BENCH = HERE / "bench.yaml"
REPEATS = 5
WHILE = 0.3  # seconds


def source() -> list[str]:
    """Return where the bars come from, as overrides of bench.yaml."""
    folder = os.environ.get("BACKTEST_REAL_DATA")
    if folder:
        return ["data.source=csv", f"data.path={folder}/sp500_daily", "data.file_pattern=DA-{symbol}-T-{date}.csv"]
    print("BACKTEST_REAL_DATA is not set: the bars are made up", file=sys.stderr)
    return ["data.source=synthetic", "data.synthetic.symbols=252", "data.synthetic.sessions=2520"]


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


def seconds(command: list[str]) -> float:
    began = perf_counter()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    return perf_counter() - began
