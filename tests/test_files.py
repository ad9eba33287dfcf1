"""Files appear whole or not at all; one writer at a time."""

import errno
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from pipeline.errors import LockedError, TemporaryError
from pipeline.files import locked, replace_file, sha256_of, writable

HOLD = "import sys, time; from pathlib import Path; from pipeline.files import locked\n"
HOLD += "with locked(Path(sys.argv[1]), 'testing'): print('held', flush=True); time.sleep(60)"


def test_replaced_file_has_the_new_content_and_no_leftover(tmp_path):
    """A replaced file holds exactly the new bytes, and nothing else is left in its folder."""
    path = tmp_path / "CURRENT"
    replace_file(path, b"old")
    replace_file(path, b"new")

    assert path.read_bytes() == b"new"
    assert list(tmp_path.iterdir()) == [path]


def test_failed_replacement_leaves_the_old_content(tmp_path, monkeypatch):
    """When the last step fails, readers still see the old bytes."""
    path = tmp_path / "CURRENT"
    replace_file(path, b"old")

    def refuse(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", refuse)

    with pytest.raises(OSError, match="No space"):
        replace_file(path, b"new")
    assert path.read_bytes() == b"old"


def test_order_is_write_flush_rename_flush_folder(tmp_path, monkeypatch):
    """A file is flushed before it is renamed and its folder after: the order that survives a power cut."""
    steps = []
    fsync, replace = os.fsync, os.replace
    monkeypatch.setattr(os, "fsync", lambda fd: (steps.append(str(Path(f"/proc/self/fd/{fd}").readlink())), fsync(fd)))
    monkeypatch.setattr(os, "replace", lambda a, b: (steps.append("rename"), replace(a, b)))

    replace_file(tmp_path / "CURRENT", b"1")

    assert [Path(step).name.split(".")[-1] for step in steps] == ["tmp", "rename", tmp_path.name]


def test_what_cannot_be_written_leaves_nothing(tmp_path, monkeypatch):
    """A disk that is full as the new bytes are flushed keeps the old ones, and has the room of the new ones back."""
    (tmp_path / "CURRENT").write_bytes(b"1")

    def full(_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        replace_file(tmp_path / "CURRENT", b"2")

    assert [(path.name, path.read_bytes()) for path in tmp_path.iterdir()] == [("CURRENT", b"1")]


def test_sha256_is_that_of_the_standard(tmp_path):
    """The digest of "abc" is the one printed in FIPS 180-2, appendix B.1."""
    (tmp_path / "abc").write_bytes(b"abc")

    assert sha256_of(tmp_path / "abc") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"


def test_refusal_of_the_system_is_temporary(tmp_path):
    """What the operating system refuses is told with path, reason and cure, and may be tried again."""
    (tmp_path / "file").touch()
    path = tmp_path / "file" / "x"

    with (
        pytest.raises(TemporaryError, match=r"store .*x: Not a directory; it could not.*Move away"),
        writable("store", path),
    ):
        path.mkdir()


def test_second_writer_is_told_at_once_who_holds_the_lock(tmp_path):
    """The second of two writers fails within a second and names the first; the lock is free afterwards."""
    with locked(tmp_path / "lock", "ingest"):
        began = time.monotonic()
        holder = rf"locked by process {os.getpid()}, ingest, since \d{{4}}-\d\d-\d\d \d\d:\d\d:\d\d UTC; one writer"
        with pytest.raises(LockedError, match=holder), locked(tmp_path / "lock", "other"):
            pass
        assert time.monotonic() - began < 1

    with locked(tmp_path / "lock", "other"):
        pass


@pytest.mark.parametrize("content", ["", "{", '{"pid": 7}', '{"pid": 7, "purpose": "x", "since": 3}'])
def test_a_holder_that_has_not_said_who_it_is(tmp_path, content):
    """Another process, in words; never what the file happens to hold."""
    with locked(tmp_path / "lock", "ingest"):
        (tmp_path / "lock").write_text(content)
        with pytest.raises(LockedError, match="locked by another process; one writer"), locked(tmp_path / "lock", "b"):
            pass


def test_killed_holder_frees_the_lock(tmp_path):
    """A lock is never stale: the kernel frees it when its holder is killed."""
    with subprocess.Popen([sys.executable, "-c", HOLD, tmp_path / "lock"], stdout=subprocess.PIPE) as holder:
        assert holder.stdout.readline() == b"held\n"
        with pytest.raises(LockedError, match=f"process {holder.pid},"), locked(tmp_path / "lock", "ingest"):
            pass
        holder.send_signal(signal.SIGKILL)

    with locked(tmp_path / "lock", "ingest"):
        pass
