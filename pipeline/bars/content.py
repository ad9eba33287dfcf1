"""The bytes of a source file, read whole, bounded, and as they were at one moment.

Files come from strangers: nothing blocks, and whatever a path can be ends as a `RefusedError` with the system's words.
Whether a file is as it was is told by its CRC-32: any change within 32 bits is seen for certain, any other one but for
a chance of 2**-32, and every night all bytes of all files are looked at (sha256 takes three times as long).
"""

import os
import stat
import zlib
from dataclasses import dataclass, replace
from pathlib import Path

from pipeline.bars.quality import RefusedError, Rule

MAX_BYTES = 1 << 30  # of a file, also unpacked: a row of daily bars is about 60 bytes
MAX_RATIO = 100  # text of bars packs about 4:1, gzip at most 1030:1
FREE_BYTES = 64 << 20  # below this any ratio is fine
PIECE = 1 << 20


@dataclass(frozen=True)
class Content:
    """A file's bytes, as they were at one moment."""

    data: bytes
    size: int
    mtime_ns: int
    crc32: str  # hex
    known: int = 0  # leading bytes that are as they were known to be

    def appended(self) -> "Content":
        """Return the bytes after those that were known, under the facts of the whole."""
        return replace(self, data=self.data[self.known :], known=0)


def load(path: Path, known: tuple[int, str] = (0, "")) -> Content:
    """Read a file whole.

    Parameters
    ----------
    path : Path
        What to read.
    known : (int, str)
        How many bytes it once had, and their CRC-32; whether it still begins with them is seen on the way.

    Raises
    ------
    RefusedError
        It cannot be opened or read, is no regular file, too large, or changed meanwhile.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)  # a FIFO must not block
        try:
            return _content(descriptor, known)
        finally:
            os.close(descriptor)
    except (OSError, ValueError) as error:  # ValueError: a NUL in the path
        raise RefusedError(Rule.UNREADABLE, getattr(error, "strerror", None) or str(error)) from None


def _content(descriptor: int, known: tuple[int, str]) -> Content:
    before = os.fstat(descriptor)
    if not stat.S_ISREG(before.st_mode):
        raise RefusedError(Rule.UNREADABLE, "not a regular file; a directory, FIFO or device holds no bars")
    if before.st_size > MAX_BYTES:
        raise RefusedError(Rule.TOO_LARGE, f"{before.st_size} bytes; at most {MAX_BYTES} are read. Split it.")
    with os.fdopen(descriptor, "rb", closefd=False) as file:
        data = file.read(before.st_size + 1)
    after = os.fstat(descriptor)
    if (before.st_size, before.st_mtime_ns) != (after.st_size, after.st_mtime_ns) or len(data) != before.st_size:
        raise RefusedError(Rule.CHANGED, "it changed while it was read; wait for its writer to finish")
    size, crc32 = known
    start = zlib.crc32(memoryview(data)[:size])
    is_known = 0 < size <= len(data) and _hex(start) == crc32
    whole = _hex(zlib.crc32(memoryview(data)[size:], start))
    return Content(data, before.st_size, before.st_mtime_ns, whole, size if is_known else 0)


def _hex(crc32: int) -> str:
    return f"{crc32:08x}"


def unpack(data: bytes) -> bytes:
    """Return what a gzip file holds, bounded while it is unpacked.

    Raises
    ------
    RefusedError
        It is damaged, cut, or grows beyond reason.
    """
    limit = min(MAX_BYTES, max(FREE_BYTES, MAX_RATIO * len(data)))
    pieces, size, rest = [], 0, data
    try:
        while rest:  # a gzip file may have several members
            member = zlib.decompressobj(wbits=31)
            while not member.eof:
                piece = member.decompress(rest, PIECE)
                rest = member.unconsumed_tail
                pieces.append(piece)
                size += len(piece)
                if size > limit:
                    raise RefusedError(Rule.TOO_LARGE, f"{len(data)} bytes unpack to more than {limit}; a gzip bomb?")
                if not piece and not rest and not member.eof:
                    raise RefusedError(Rule.ENCODING, "the gzip file ends before its end: it was cut")
            rest = member.unused_data
    except zlib.error as error:
        raise RefusedError(Rule.ENCODING, f"not a gzip file, or a damaged one: {error}") from None
    return b"".join(pieces)
