"""What run.json says of what was run, and what the name of a run depends on."""

import hashlib
import platform
from datetime import date
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

from pipeline.bars.store import Snapshot
from pipeline.compute.choose import Choice
from pipeline.options import Options
from pipeline.signals.strategy import Strategy
from pipeline.trading.market import costs

SCHEMA_VERSION = 1
VERSIONED = ("dask", "distributed", "numba", "numpy", "pandas", "pyarrow", "TA-Lib")


def identity(options: Options, snapshot: Snapshot, strategy: Strategy, newest: date) -> dict[str, Any]:
    """Return what the result depends on: config, bars and strategy; never the scheduler or where things lie.

    `newest` is the last session that is seen: a later `as_of` or `data.end` without newer bars is the same run.
    """
    return {
        "data": options.data.model_dump(mode="json", include={"symbols", "start", "prices"}),
        "newest": str(newest),
        "on_error": str(options.on_error),
        "trading": options.trading.model_dump(mode="json"),
        "benchmark": options.output.benchmark,
        "snapshot": snapshot.content_id,
        "strategy": {"sha256": strategy.sha256, "params": options.strategy.params},
    }


def beginning(options: Options) -> dict[str, Any]:
    """Return what run.json says from the first moment on."""
    return {"schema_version": SCHEMA_VERSION, "name": options.name, "config": options.model_dump(mode="json")}


def description(
    options: Options, snapshot: Snapshot, strategy: Strategy, choice: Choice, newest: date
) -> dict[str, Any]:
    """Return what run.json says of what was run, and where; `newest` is the last session that is seen."""
    manifest = snapshot.manifest
    return {
        **beginning(options),
        "newest": str(newest),
        "snapshot": {
            "store": str(snapshot.root),
            "number": manifest.number,
            "content_id": snapshot.content_id,
            "symbols": len(manifest.symbols),
            "frequency": manifest.frequency,
            "counts": manifest.counts,
            "adjustment": manifest.ingest["adjustment"],
            "notes": list(manifest.notes),
        },
        "strategy": {
            "name": strategy.name,
            "file": strategy.file,
            "sha256": strategy.sha256,
            "params": options.strategy.params,
        },
        "costs": {name: value for name, value in costs(options.trading)._asdict().items() if name != "lot"},
        "scheduler": {
            "kind": choice.kind.value,
            "workers": choice.workers,
            "reason": choice.reason,
            "predicted": choice.predicted,
        },
    }


@cache
def versions_of(pipeline: str) -> dict[str, str]:
    """Return the version of the `pipeline`, a hash of its text, and what else results may depend on."""
    return {
        "pipeline": pipeline,
        "source": _source(),
        "python": platform.python_version(),
        **{name: version(name) for name in VERSIONED},
    }


def _source() -> str:
    """Return a hash of this package's own text: a working copy changes more often than its version."""
    folder = Path(__file__).parent
    digest = hashlib.sha256()
    for path in sorted(folder.rglob("*.py")):
        digest.update(f"{path.relative_to(folder)}\0".encode() + path.read_bytes())
    return digest.hexdigest()[:16]
