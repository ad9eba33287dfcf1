"""A snapshot is whole or not there; damage is noticed; what is read is never removed."""

import json
import os
import time
from pathlib import Path
from tempfile import TemporaryDirectory

import pandas as pd
import pyarrow.parquet as pq
import pytest

from csv_files import unseal
from pipeline.bars.blocks import blocks_of, load_block
from pipeline.bars.manifest import TABLES
from pipeline.bars.store import exists, open_snapshot, verify, writing
from pipeline.errors import DataError, LockedError, StoreCorruptError, TemporaryError
from stores import make_store

SESSIONS = pd.bdate_range("2020-11-02", "2021-02-26")


def frame_of(**closes: float) -> pd.DataFrame:
    frames = [
        pd.DataFrame({"symbol": symbol, "session": SESSIONS, "volume": 100.0}).assign(
            **dict.fromkeys(["open", "high", "low", "close"], close)
        )
        for symbol, close in closes.items()
    ]
    return pd.concat(frames)


@pytest.fixture
def snapshot(tmp_path):
    return make_store(tmp_path / "store", frame_of(A=1.0, B=2.0), blocks=2)


def close_of(snapshot, symbol):
    return load_block(blocks_of(snapshot, [symbol])[0], ["close"])["close"].iloc[0]


def test_opened_snapshot_is_the_committed_one(snapshot):
    """What was committed is what is opened, and every file is what its manifest says."""
    opened = open_snapshot(snapshot.root)

    assert opened.manifest == snapshot.manifest
    assert opened.content_id == snapshot.content_id
    assert verify(opened) == 9  # 2 blocks x 2 periods, and five tables


def test_content_id_tells_bars_apart(tmp_path):
    """The same bars give the same id in another store, other bars another one."""
    one, same, other = (
        make_store(tmp_path / name, frame.sample(frac=1, random_state=1), blocks=2)
        for name, frame in (("1", frame_of(A=1.0)), ("2", frame_of(A=1.0)), ("3", frame_of(A=1.5)))
    )

    assert one.content_id == same.content_id != other.content_id


def test_no_store_is_told_with_its_cure(tmp_path):
    """Opening what was never ingested says what to run."""
    assert not exists(tmp_path)
    with pytest.raises(DataError, match=r"not found.*Run `ingest`"):
        open_snapshot(tmp_path)


@pytest.mark.parametrize("damage", ["missing", "truncated", "empty", "longer"])
def test_damaged_size_is_noticed_when_opened(snapshot, damage):
    """A part that is missing or of another size is named when the snapshot is opened."""
    path = snapshot.path(snapshot.manifest.parts[1])
    content = path.read_bytes()
    path.unlink()
    if damage != "missing":
        path.write_bytes({"truncated": content[:-1], "empty": b"", "longer": content + b"0"}[damage])

    with pytest.raises(
        StoreCorruptError, match=rf"{path.name}.*`ingest --rebuild`, which loses the bars that the source"
    ):
        open_snapshot(snapshot.root)


def test_flipped_bit_is_noticed(snapshot):
    """One flipped bit is found by `verify`, and already by reading the page it is in."""
    path = snapshot.path(snapshot.manifest.parts[0])
    content = bytearray(path.read_bytes())
    session = pq.read_metadata(path).row_group(0).column(1)
    content[session.data_page_offset + session.total_compressed_size - 1] ^= 1
    path.write_bytes(content)

    with pytest.raises(StoreCorruptError, match=f"{path.name} differs from its sha256"):
        verify(open_snapshot(snapshot.root))
    with pytest.raises(StoreCorruptError, match=rf"{path.name}: cannot be read.*ingest --rebuild"):
        close_of(snapshot, "A")


def test_swapped_parts_are_noticed(snapshot):
    """Two parts that changed places are found, also where their sizes agree."""
    one, other = (snapshot.path(snapshot.manifest.parts[index]) for index in (0, 2))
    content = one.read_bytes()
    one.write_bytes(other.read_bytes())
    other.write_bytes(content)

    with pytest.raises(StoreCorruptError):
        verify(open_snapshot(snapshot.root))


@pytest.mark.parametrize("text", ["", "x", "99", "-1", "1" * 5000])
def test_damaged_pointer_is_noticed(snapshot, text):
    """CURRENT must hold the number of a snapshot that is there; the broken rule is said, and its remedy helps."""
    pointer = snapshot.root / "CURRENT"
    pointer.write_text(text)
    said = r"CURRENT holds '.{0,43}'; it holds the number of the newest snapshot and nothing else\. Remove"
    if text == "99":
        said = r"CURRENT names snapshot 99, and snapshots/99.json is missing; a manifest is removed only .*, or remove"

    with pytest.raises(StoreCorruptError, match=rf"{said} CURRENT: `ingest` then goes on from the newest whole snap"):
        open_snapshot(snapshot.root)
    pointer.unlink()
    with writing(snapshot.root):
        assert pointer.read_text() == "1\n"


@pytest.mark.parametrize("text", ["", "{", "[]", '{"format": 4}', '{"format": 5}', '{"format": 6}', "null"])
def test_a_manifest_that_is_none_is_noticed(snapshot, text):
    """A manifest that is no manifest ends as a corrupt store, not as a traceback."""
    (snapshot.root / "snapshots" / "1.json").write_text(text)

    with pytest.raises(StoreCorruptError, match=r"snapshots/1\.json (cannot be read|does not begin with its sha256)"):
        open_snapshot(snapshot.root)


def test_any_changed_byte_of_a_manifest_is_noticed(snapshot):
    """A flipped bit, wherever it is, and a byte too few or too many: the file is named, and what helps."""
    path = snapshot.manifest_file
    content = path.read_bytes()
    flipped = [
        content[:place] + bytes([content[place] ^ 1 << place % 8]) + content[place + 1 :]
        for place in range(0, len(content), 5)
    ]
    for damaged in (*flipped, content[:-1], content + b"\n", content.replace(b'"scale":[1', b'"scale":[2')):
        assert damaged != content
        path.write_bytes(damaged)
        with pytest.raises(StoreCorruptError, match=r"snapshots/1\.json .*; a manifest never changes.*remove CURRENT"):
            open_snapshot(snapshot.root)


def test_the_manifest_of_another_snapshot_is_noticed(snapshot):
    """A manifest knows its number: a whole one in the place of another is none."""
    other = make_store(snapshot.root, frame_of(A=3.0))
    other.manifest_file.write_bytes(snapshot.manifest_file.read_bytes())

    with pytest.raises(StoreCorruptError, match=r"snapshots/2\.json is that of snapshot 1"):
        open_snapshot(snapshot.root)


def test_a_store_without_checksums_of_manifests_is_read_and_gets_them(snapshot):
    """One of the format before opens as it is; the next commit writes this format."""
    unseal(snapshot.manifest_file)
    opened = open_snapshot(snapshot.root)
    after = make_store(snapshot.root, frame_of(A=3.0))

    assert opened.manifest == snapshot.manifest
    assert after.manifest_file.read_bytes().startswith(b'{"sha256":"')


def test_other_format_is_refused_by_number(snapshot):
    """A store of another format is named as such, whatever else is in it."""
    (snapshot.root / "snapshots" / "1.json").write_text(json.dumps({"format": 9}))

    with pytest.raises(DataError, match="format 9; this version reads 4 to 6"):
        open_snapshot(snapshot.root)


def test_stray_files_are_ignored_and_swept(snapshot):
    """Files the manifest does not name are not read, and the next writer removes them."""
    strays = [snapshot.root / "parts" / "stray.parquet", snapshot.root / "snapshots" / "note.txt"]
    for stray in strays:
        stray.write_bytes(b"x")

    assert close_of(open_snapshot(snapshot.root), "A") == 1.0
    make_store(snapshot.root, frame_of(A=3.0))
    assert not any(stray.exists() for stray in strays)


def test_second_writer_fails_within_a_second(snapshot):
    """Two writers never work side by side."""
    with writing(snapshot.root):
        began = time.monotonic()
        with pytest.raises(LockedError, match="one writer at a time"), writing(snapshot.root):
            pass

        assert time.monotonic() - began < 1


def test_reader_is_not_disturbed_by_commits(snapshot):
    """A reader keeps its snapshot, whole, however many are committed after it; without readers two are kept."""
    for close in (2.0, 3.0, 4.0, 5.0):
        make_store(snapshot.root, frame_of(A=close))

    assert close_of(snapshot, "A") == 1.0
    assert verify(snapshot) == 9
    assert close_of(open_snapshot(snapshot.root), "A") == 5.0
    assert {path.name for path in (snapshot.root / "snapshots").iterdir()} == {"1.json", "4.json", "5.json"}


def test_forgotten_snapshot_is_swept(tmp_path):
    """A snapshot nobody reads goes, with its parts."""
    store = tmp_path / "store"
    for close in (1.0, 2.0, 3.0, 4.0):
        make_store(store, frame_of(A=close))

    kept = [json.loads((store / "snapshots" / f"{number}.json").read_text()) for number in (3, 4)]
    named = {entry["file"] for one in kept for entry in (*one["parts"], *(one[name] for name in TABLES))}

    assert {path.name for path in (store / "parts").iterdir()} == named


def test_failed_writer_leaves_no_trace(snapshot):
    """A writer that fails before its commit leaves the old snapshot and an empty desk."""
    with pytest.raises(TemporaryError), writing(snapshot.root) as writer:
        writer.adopt(writer.staging / "missing.parquet", "stem")

    assert open_snapshot(snapshot.root).manifest == snapshot.manifest
    assert not (snapshot.root / "staging").exists()


def test_store_that_cannot_be_made_is_temporary(tmp_path):
    """A place that takes no folder ends as a TemporaryError that names it."""
    (tmp_path / "file").touch()

    with pytest.raises(TemporaryError, match=r"store .*file/store"), writing(tmp_path / "file" / "store"):
        pass


@pytest.fixture
def read_only_folder():
    """Yield a folder that this process may read but not write, for root's sake as another user."""
    with TemporaryDirectory() as name:
        folder = Path(name)
        folder.chmod(0o555)
        user = os.geteuid()
        os.seteuid(65534 if user == 0 else user)
        try:
            yield folder
        finally:
            os.seteuid(user)


def test_read_only_folder_is_temporary(read_only_folder):
    """A folder that may not be written ends as a TemporaryError that names it."""
    store = read_only_folder / "store"

    with pytest.raises(TemporaryError, match=f"store {store}: Permission denied"), writing(store):
        pass


def test_rebuild_does_not_look_at_a_corrupt_snapshot(snapshot):
    """A corrupt store can be written anew; its number goes on."""
    (snapshot.root / "snapshots" / "1.json").write_text("{")

    with writing(snapshot.root, rebuild=True) as writer:
        assert (writer.previous, writer.number) == (None, 2)
