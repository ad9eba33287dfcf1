"""What every test stands on: no settings of the machine reach it, and random tests can be repeated."""

import os
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

settings.register_profile(
    "default", deadline=None, max_examples=50, derandomize=True, suppress_health_check=[HealthCheck.too_slow]
)
settings.register_profile("nightly", deadline=None, max_examples=2000)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "default"))


@pytest.fixture(autouse=True)
def _no_settings_of_the_machine(monkeypatch):
    for name in list(os.environ):
        if name.startswith(("BACKTEST_", "DASK_")) and name != "BACKTEST_REAL_DATA":
            monkeypatch.delenv(name)


@pytest.fixture(scope="session")
def real_files() -> Path:
    """Return the folder of 253 real CSV files, or skip loudly."""
    folder = os.environ.get("BACKTEST_REAL_DATA")
    if not folder:
        pytest.skip("BACKTEST_REAL_DATA is not set: the folder with sp500_daily/ is not at hand")
    return Path(folder) / "sp500_daily"
