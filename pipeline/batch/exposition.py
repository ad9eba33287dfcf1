"""A batch's figures as a text file for Prometheus (node_exporter's textfile collector)."""

from datetime import UTC, date, datetime
from pathlib import Path

from pipeline.batch import record
from pipeline.batch.record import BatchRecord
from pipeline.files import writable

READABLE = 0o644  # the collector runs as another user


def write(path: Path, told: BatchRecord, output: Path) -> None:
    """Write the figures of a batch to `path`, atomically; TemporaryError where that is impossible."""
    from prometheus_client import CollectorRegistry, Gauge, write_to_textfile

    registry = CollectorRegistry()

    def gauge(name: str, meaning: str, *labels: str) -> Gauge:
        return Gauge(f"backtest_{name}", meaning, ["batch", *labels], registry=registry)

    started = datetime.fromisoformat(told.started).timestamp()
    gauge("batch_exit_code", "Exit code of the last batch; 0 is well, 3 is degraded").labels(told.batch).set(
        told.exit_code or 0
    )
    gauge("batch_started_timestamp_seconds", "When the last batch began").labels(told.batch).set(started)
    gauge("batch_duration_seconds", "How long the last batch took").labels(told.batch).set(told.seconds)
    gauge("batch_last_success_timestamp_seconds", "When the last batch with exit code 0 or 3 ended; 0 if none").labels(
        told.batch
    ).set(_last_success(told, output))
    states = gauge("batch_runs", "Runs of the last batch by state", "state")
    for state in ("committed", "degraded", "complete", "failed", "interrupted", "blocked", "pending"):
        states.labels(told.batch, state).set(told.counts.get(state, 0))
    codes = gauge("run_exit_code", "Exit code of a run on its last evening; -1 if it has none", "run")
    seconds = gauge("run_duration_seconds", "How long a run took, all attempts together", "run")
    evening = gauge("run_as_of_timestamp_seconds", "Evening of which these figures of a run are, midnight UTC", "run")
    newest = gauge("run_newest_session_timestamp_seconds", "Last session that a run has seen, midnight UTC", "run")
    for run in told.runs:  # oldest evening first, so that the last one stays
        codes.labels(told.batch, run.label).set(-1 if run.exit_code is None else run.exit_code)
        seconds.labels(told.batch, run.label).set(run.seconds)
        evening.labels(told.batch, run.label).set(_midnight(run.as_of))
        if run.newest:
            newest.labels(told.batch, run.label).set(_midnight(run.newest))
    with writable("metrics", path):
        path.parent.mkdir(parents=True, exist_ok=True)
        write_to_textfile(str(path), registry)
        path.chmod(READABLE)


def _midnight(day: str) -> float:
    return datetime.combine(date.fromisoformat(day), datetime.min.time(), UTC).timestamp()


def _last_success(told: BatchRecord, output: Path) -> float:
    batches = [told, *(other for _, other in record.history(output, told.batch))]
    ended = [
        datetime.fromisoformat(each.started).timestamp() + each.seconds for each in batches if each.exit_code in {0, 3}
    ]
    return max(ended, default=0.0)
