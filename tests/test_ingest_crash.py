"""An ingest that is killed, or refused by the disk, or finds its store damaged: the store is whole, old or new."""

import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from crash import options_of, signature
from csv_files import DAYS, bars, closes, run, three_files, write
from pipeline import failpoints
from pipeline.bars.manifest import TABLES
from pipeline.bars.store import open_snapshot
from pipeline.errors import StoreCorruptError, TemporaryError

ROOT = Path(__file__).parents[1]
POINTS = ("store.before_adopt", "store.before_manifest", "store.before_pointer", "store.before_sweep")
COPY = "cp -r $0 $0.copy"
SMALL = "mount -t tmpfs -o size=$(($(du -sk $0 | cut -f1) + 8))k none $0"  # as large as the store and two pages
READ_ONLY = "mount --bind $0 $0; mount -o remount,bind,ro $0"
LONGER = [*DAYS, "2021-01-11"]
needs_strace = pytest.mark.skipif(
    shutil.which("strace") is None,
    reason="strace is missing: nothing was killed at its system calls. Install it: apt-get install strace",
)
needs_mounts = pytest.mark.skipif(
    subprocess.run(["unshare", "-rm", "true"], capture_output=True, check=False).returncode != 0,
    reason="user namespaces are off: no small disk could be filled",
)


class Place:
    """Three files that are stored, and the next night's rows of them, that are not yet."""

    def __init__(self, folder: Path) -> None:
        self.bars = three_files(folder / "bars")
        self.options = options_of(self.bars, folder / "store")
        for days in (DAYS[:-1], DAYS):  # two snapshots, so that the next one has something to sweep
            write(self.bars / "AAA.csv", bars(days))
            run(self.options)
        self.old = signature(self.options.store)
        for close, symbol in ((10.0, "AAA"), (20.0, "BBB"), (30.0, "CCC")):
            write(self.bars / f"{symbol}.csv", bars(LONGER, close=close))
        other = self.options.model_copy(update={"store": folder / "other"})
        shutil.copytree(self.options.store, other.store)
        run(other)
        self.new = signature(other.store)

    @property
    def words(self) -> list[str]:
        """Return the command that ingests."""
        own = [f"data.path={self.bars}", f"data.store={self.options.store}", "data.source=csv"]
        return [sys.executable, "-m", "pipeline", "ingest", str(ROOT / "conf" / "sample.yaml"), *own]

    def start(self, *before: str, fault: str = "") -> subprocess.CompletedProcess:
        """Run the command to its end, under another one, and with a fault, if one is named."""
        environment = {**os.environ, **({failpoints.VARIABLE: fault} if fault else {})}
        return subprocess.run(
            [*before, *self.words], cwd=ROOT, env=environment, capture_output=True, text=True, check=False
        )

    def is_mended(self) -> bool:
        """Tell whether the next ingest completes, and leaves nothing behind."""
        run(self.options)
        named = {entry.file for entry in open_snapshot(self.options.store).manifest.files}
        parts = {path.name for path in (self.options.store / "parts").iterdir()}
        return signature(self.options.store) == self.new and named <= parts and not list(self.leftovers)

    @property
    def leftovers(self):
        """Return what only a writer at work has."""
        return [*self.options.store.glob("**/.*.tmp"), *self.options.store.glob("staging")]


@pytest.fixture
def place(tmp_path):
    return Place(tmp_path)


@pytest.fixture(autouse=True)
def _no_failpoint_was_passed():
    failpoints._passed.clear()


@pytest.mark.parametrize("point", POINTS)
def test_an_ingest_killed_as_it_commits_is_there_whole_or_not_at_all(place, point):
    """SIGKILL between the steps of a commit: old or new, every byte checked; the next ingest completes."""
    done = place.start(fault=f"{point}:kill")

    assert done.returncode == -signal.SIGKILL
    assert signature(place.options.store) == (place.new if point == "store.before_sweep" else place.old)
    assert place.is_mended()


@pytest.mark.parametrize("fault", ["eio", "enospc"])
@pytest.mark.parametrize("point", POINTS)
def test_a_disk_that_refuses_is_temporary(place, monkeypatch, point, fault):
    """The store, named with the system's words; nothing half, nothing left, and the next ingest completes."""
    words = {"eio": "Input/output error", "enospc": "No space left on device"}[fault]
    monkeypatch.setenv(failpoints.VARIABLE, f"{point}:{fault}")
    with pytest.raises(TemporaryError, match=rf"store {place.options.store}: {words}"):
        run(place.options)
    monkeypatch.delenv(failpoints.VARIABLE)

    assert signature(place.options.store) == (place.new if point == "store.before_sweep" else place.old)
    assert place.leftovers == []
    assert place.is_mended()


@needs_mounts
@pytest.mark.parametrize(
    ("mount", "said"),
    [(f"{COPY}; {SMALL}; cp -r $0.copy/. $0", "0.0 MB are free"), (READ_ONLY, "Read-only file system")],
    ids=["full", "read-only"],
)
def test_a_full_or_read_only_disk_is_exit_75(place, mount, said):
    """On a disk that has no room, and on one that takes nothing, the old store stays, and the message says so."""
    store = place.options.store
    verify = f"{sys.executable} -m pipeline verify conf/sample.yaml data.store={store} output.dir={store}/none"
    script = f'set -e; {mount}; set +e; "$@"; code=$?; {verify} >&2 || exit 99; exit $code'
    done = place.start("unshare", "-rm", "sh", "-c", script, str(store))

    assert done.returncode == 75, done.stderr
    assert done.stderr.startswith(f"store {store}")
    assert f": {said}" in done.stderr
    assert place.is_mended()


def flip(path: Path) -> None:
    """Flip a bit of the first page's last value."""
    content = bytearray(path.read_bytes())
    column = pq.read_metadata(path).row_group(0).column(2)
    content[column.data_page_offset + column.total_compressed_size - 1] ^= 1
    path.write_bytes(content)


def part_of(place: Place, symbol: str) -> Path:
    """Return the file of a symbol's newest bars."""
    snapshot = open_snapshot(place.options.store)
    return next(snapshot.path(part) for part in reversed(snapshot.manifest.parts) if symbol in part.symbols)


@pytest.mark.parametrize("damage", ["missing", "truncated", "flipped", "swapped"])
def test_an_update_of_a_damaged_store_publishes_nothing(place, damage):
    """What new bars would be added to is compared first: the file is named, the store stays; a rebuild repairs it."""
    one, other = part_of(place, "AAA"), part_of(place, "BBB")
    if damage == "missing":
        one.unlink()
    elif damage == "truncated":
        os.truncate(one, one.stat().st_size // 2)
    elif damage == "flipped":
        flip(one)
    else:
        content = one.read_bytes()
        one.write_bytes(other.read_bytes())
        other.write_bytes(content)
        assert one.stat().st_size == other.stat().st_size  # so nothing but the sha256 tells
    pointer = (place.options.store / "CURRENT").read_text()

    with pytest.raises(StoreCorruptError, match=rf"({one.name}|{other.name}).*ingest --rebuild"):
        run(place.options)
    assert (place.options.store / "CURRENT").read_text() == pointer
    rows = closes(run(place.options, rebuild=True).snapshot)
    assert rows == {name: [(day, close) for day in LONGER] for name, close in (("AAA", 10), ("BBB", 20), ("CCC", 30))}


@pytest.mark.parametrize("table", ["ends", "actions", "revisions", "quarantine"])
def test_an_update_reads_no_damaged_table(place, table):
    """A flipped byte in any of the tables that an update goes on from is a corrupt store, named."""
    assert table in TABLES
    snapshot = open_snapshot(place.options.store)
    if table == "quarantine":
        write(place.bars / "AAA.csv", [*bars(LONGER), "2021-01-12,nan,1,1,1,1,1"])
        snapshot = run(place.options).snapshot
        write(place.bars / "BBB.csv", bars([*LONGER, "2021-01-12"], close=20.0))
    path = snapshot.path(getattr(snapshot.manifest, table))
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)

    with pytest.raises(StoreCorruptError, match=rf"{path.name}.*sha256"):
        run(place.options)


@pytest.mark.nightly
@needs_strace
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("calls", ["fsync", "rename", "unlink", "mkdir", "rmdir"])
def test_an_ingest_killed_at_any_system_call_is_there_whole_or_not_at_all(place, calls):
    """SIGKILL at the first, second, ... of these calls until there is none left; the next ingest completes."""
    base = place.options.store.with_name("base")
    place.options.store.rename(base)
    for count in range(1, 200):
        shutil.rmtree(place.options.store, ignore_errors=True)
        shutil.copytree(base, place.options.store)
        inject = ["-e", f"trace={calls}", "-e", f"inject={calls}:signal=SIGKILL:when={count}"]
        done = place.start("strace", "-f", "-qq", "-o", os.devnull, *inject)
        assert signature(place.options.store) in {place.old, place.new}
        assert place.is_mended()
        if done.returncode == 0:
            break
        assert done.returncode in {-signal.SIGKILL, 128 + signal.SIGKILL}, done.stderr
    else:
        pytest.fail("there is no end of these calls")

    assert count > 1
