"""What run.json says of what was run, and what the name of a run depends on."""

import platform
from importlib.metadata import version
from typing import Any

from pipeline.bars.store import Snapshot
from pipeline.compute.choose import Choice
from pipeline.options import Options
from pipeline.signals.strategy import Strategy
from pipeline.trading.market import costs

SCHEMA_VERSION = 1
VERSIONED = ("dask", "distributed", "numba", "numpy", "pandas", "pyarrow", "TA-Lib")


def identity(options: Options, snapshot: Snapshot, strategy: Strategy) -> dict[str, Any]:
    """Return what the result depends on: config, bars and strategy; never the scheduler or where things lie."""
    return {
        "data": options.data.model_dump(mode="json", include={"symbols", "start", "end", "prices"}),
        "trading": options.trading.model_dump(mode="json"),
        "benchmark": options.output.benchmark,
        "snapshot": snapshot.content_id,
        "strategy": {"sha256": strategy.sha256, "params": options.strategy.params},
    }


def description(options: Options, snapshot: Snapshot, strategy: Strategy, choice: Choice) -> dict[str, Any]:
    """Return what run.json says of what was run, and where."""
    manifest = snapshot.manifest
    return {
        "schema_version": SCHEMA_VERSION,
        "name": options.name,
        "config": options.model_dump(mode="json"),
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


def versions_of(pipeline: str) -> dict[str, str]:
    """Return the version of the `pipeline`, of Python, and of the packages that results may depend on."""
    return {
        "pipeline": pipeline,
        "python": platform.python_version(),
        **{name: version(name) for name in VERSIONED},
    }
