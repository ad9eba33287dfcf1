"""What every test stands on: no settings of the machine reach it, and random tests can be repeated."""

import os
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from crash import options_of
from csv_files import three_files
from pipeline.options import DataOptions

settings.register_profile(
    "default", deadline=None, max_examples=50, derandomize=True, suppress_health_check=[HealthCheck.too_slow]
)
settings.register_profile("nightly", deadline=None, max_examples=2000)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "default"))

FAULTS = (
    "test_batch",
    "test_batch_crash",
    "test_batch_store",
    "test_browser",
    "test_clusters",
    "test_dashboard",
    "test_ingest_crash",
    "test_live_page",
    "test_run_faults",
    "test_runner",
    "test_scheduler",
    "test_soak",
    "test_stopping",
    "test_workers",
)
"""Modules of the fault tier, `make test-faults`: they start, stop and kill processes, fill disks, drive a browser."""


@pytest.hookimpl(tryfirst=True)  # before -m looks at the markers
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put every test into its tier."""
    for item in items:
        if item.path.stem in FAULTS or "kill" in item.name:
            item.add_marker(pytest.mark.faults)
        elif "real_files" in item.fixturenames or item.path.stem == "test_ingest_real":
            item.add_marker(pytest.mark.real)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say last, and loudly, what was not tested."""
    skipped = terminalreporter.stats.get("skipped", [])
    reasons = Counter(report.longrepr[2] for report in skipped)
    if skipped:
        terminalreporter.section(f"NOT TESTED: {len(skipped)} tests were skipped", sep="!", red=True, bold=True)
    for reason, count in reasons.most_common():
        terminalreporter.write_line(f"{count:>4} x {reason}", red=True)


@pytest.fixture(autouse=True)
def _no_settings_of_the_machine(monkeypatch):
    for name in list(os.environ):
        if name.startswith(("BACKTEST_", "DASK_")) and name != "BACKTEST_REAL_DATA":
            monkeypatch.delenv(name)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Return a folder of three CSV files, of ten bars each."""
    return three_files(tmp_path / "bars")


@pytest.fixture
def options(folder: Path, tmp_path: Path) -> DataOptions:
    """Return the settings that ingest those files into a store beside them."""
    return options_of(folder, tmp_path / "store")


@pytest.fixture(scope="session")
def real_files() -> Path:
    """Return the folder of 253 real CSV files, or skip loudly."""
    folder = os.environ.get("BACKTEST_REAL_DATA")
    if not folder:
        pytest.skip("BACKTEST_REAL_DATA is not set: the folder with sp500_daily/ is not at hand")
    return Path(folder) / "sp500_daily"
