"""Batches whose runs are made by a stand-in, for tests of what surrounds them."""

import json
from collections.abc import Callable, Iterable
from contextlib import nullcontext
from datetime import date
from pathlib import Path
from typing import Any

import pytest

from pipeline.batch import nightly
from pipeline.batch.file import read_batch
from pipeline.batch.nightly import BatchOutcome, batch
from pipeline.batch.planning import planned
from pipeline.batch.progress import Progress
from pipeline.options import Options

STATES = {0: "committed", 3: "degraded", 130: "interrupted", 143: "interrupted"}
EVENING = date(2020, 11, 20)
Script = Callable[[Options, int], int]
"""Exit code of a run, by its settings and how often it was tried before."""


class MadeUp:
    """Stands in for `pipeline.batch.runner.Runner`: answers as a script says, and publishes a folder for each run."""

    def __init__(self, script: Script) -> None:
        self.script = script
        self.asked: list[tuple[str, str, bool]] = []  # name, as_of, once
        self.warns: dict[str, list[str]] = {}  # by name

    def make(self, options: Options, _: Any, *, once: bool) -> dict[str, Any]:
        """Answer for a run."""
        before = [name for name, day, _ in self.asked if (name, day) == (options.name, str(options.as_of))]
        self.asked.append((options.name, str(options.as_of), once))
        code = self.script(options, len(before))
        answer = {"state": STATES.get(code, "failed"), "exit_code": code, "reason": f"said {code}" if code else ""}
        warnings = {"warnings": self.warns.get(options.name, [])}
        if code in {0, 3}:
            return {**answer, "outcome": {**outcome(options, f"{options.as_of}-{len(before) + 1}"), **warnings}}
        return {**answer, **warnings}


def outcome(options: Options, key: str) -> dict[str, Any]:
    """Publish an empty run, and return what the batch hears of it."""
    folder = options.output.dir / options.name / key
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "run.json").write_text(json.dumps({"started": f"{options.as_of}T22:30:00+00:00", "batch": "some"}))
    return {
        "run_dir": str(folder),
        "result_digest": "ab" * 32,
        "newest": str(options.as_of),
        "metrics": {"total_return": 0.125, "sharpe": 1.0},
    }


class Nights:
    """A batch file in `folder` and what its batches came to, night by night."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch, clock: list[float]) -> None:
        self.folder = folder
        self.output = folder / "runs"
        self.clock = clock
        self.warns: dict[str, list[str]] = {}  # what runs warn of, by their names
        self._monkeypatch = monkeypatch
        (folder / "one.yaml").write_text(f"output: {{dir: {self.output}}}\ndata: {{store: {folder}/store}}\n")

    def batch(
        self, text: str, script: Script | dict[str, Iterable[int]] | None = None, as_of: date = EVENING, **stated: Any
    ) -> tuple[BatchOutcome, MadeUp]:
        """Make the batch of a file, and return what came of it and who made its runs."""
        path = self.folder / "nightly.yaml"
        path.write_text(text)
        file = read_batch(path)
        runner = MadeUp(scripted(script or {}))
        runner.warns = self.warns
        self._monkeypatch.setattr(nightly, "Runner", lambda **_: nullcontext(runner))
        done = batch(
            file.options.model_copy(update=stated), path, planned(file, (), {}), as_of=as_of, progress=Progress(None)
        )
        return done, runner

    def record(self, done: BatchOutcome) -> dict[str, Any]:
        """Return what batch.json says."""
        return json.loads((Path(done.folder) / "batch.json").read_text())

    def log(self, done: BatchOutcome) -> list[dict[str, Any]]:
        """Return the lines of the log."""
        return [json.loads(line) for line in (Path(done.folder) / "log.jsonl").read_text().splitlines()]


def scripted(script: Script | dict[str, Iterable[int]]) -> Script:
    """Return a script that gives each name its codes, one for each attempt, and 0 ever after."""
    if callable(script):
        return script
    codes = {name: list(each) for name, each in script.items()}
    return lambda options, before: dict(enumerate(codes.get(options.name, ()))).get(before, 0)
