"""The real files of a vendor: time, memory, and how fast they are read."""

import json
import os
import subprocess
import sys
import timeit
from pathlib import Path

import pytest

from pipeline.bars.blocks import blocks_of, load_block
from pipeline.bars.periods import read_periods
from pipeline.bars.store import open_snapshot
from pipeline.schema import STORED

REAL = os.environ.get("BACKTEST_REAL_DATA")
needs_real_data = pytest.mark.skipif(not REAL, reason="BACKTEST_REAL_DATA names no folder with sp500_daily/")
MEASURE = """
import json, sys
from datetime import date
from pathlib import Path
from crash import options_of
from pipeline.bars.ingest import ingest
options = options_of(Path(sys.argv[1]), Path(sys.argv[2]))
options = options.model_copy(update={"file_pattern": "DA-{symbol}-T-{date}.csv"})
done = ingest(options, readers=2, as_of=date(2021, 12, 31))
peak = int(Path("/proc/self/status").read_text().split("VmHWM:")[1].split()[0])  # ru_maxrss begins with the parent's
print(json.dumps([done.counts, done.refused, done.seconds, peak]))
"""


@pytest.fixture(scope="module")
def real(tmp_path_factory):
    tests, store = Path(__file__).parent, tmp_path_factory.mktemp("real") / "store"
    done = subprocess.run(
        [sys.executable, "-c", MEASURE, f"{REAL}/sp500_daily", store],
        env={**os.environ, "PYTHONPATH": f"{tests}:{tests.parent}"},
        capture_output=True,
        text=True,
        check=True,
    )
    return open_snapshot(store), *json.loads(done.stdout)


@needs_real_data
def test_real_files_within_time_and_memory(real):
    """253 files become 252 symbols within 15 s and 1 GiB; the error page is refused and named."""
    snapshot, counts, refused, seconds, peak = real
    names = {path.name.split("-")[1] for path in Path(REAL, "sp500_daily").iterdir()}

    assert (counts["files"], counts["symbols"], counts["rows_in"]) == (253, 252, 1_189_018)
    assert set(snapshot.by_symbol) == names - {"BF.B"}
    assert [Path(path).name for path in refused] == ["DA-BF.B-T-2021-04-21.csv"]
    assert seconds < 15
    assert peak < 1 << 20  # KiB


@needs_real_data
def test_real_bars_are_read_fast(real):
    """252 symbols' closes by block, and all columns by period, are each read within 0.4 s at best of seven."""
    snapshot = real[0]
    symbols = list(snapshot.by_symbol)

    def by_block():
        return sum(len(load_block(block, ["close"])) for block in blocks_of(snapshot, symbols))

    def by_period():
        return sum(int(period.starts[-1]) for period in read_periods(snapshot, symbols, STORED, None, None))

    assert by_block() == by_period() == real[1]["stored"]
    assert min(timeit.repeat(by_block, number=1, repeat=7)) < 0.4
    assert min(timeit.repeat(by_period, number=1, repeat=7)) < 0.4
