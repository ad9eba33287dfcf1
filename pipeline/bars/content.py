"""The bytes of a source file, read whole, bounded, and as they were at one moment.

Files come from strangers: nothing blocks, and whatever a path can be ends as a `RefusedError` with the system's words.
Whether a file is as it was is told by its CRC-32: any change within 32 bits is seen for certain, any other one but for
a chance of 2**-32, and every night all bytes of all files are looked at (sha256 takes thirty times as long).
"""

import os
import stat
import zlib
from dataclasses import dataclass
from pathlib import Path

from isal import isal_zlib  # its CRC-32 is ten times as fast as zlib's, and the same

from pipeline.bars.quality import RefusedError, Rule

MAX_BYTES = 1 << 30  # of a file, also unpacked: a row of daily bars is about 60 bytes
MAX_RATIO = 100  # text of bars packs about 4:1, gzip at most 1030:1
FREE_BYTES = 64 << 20  # below this any ratio is fine
PIECE = 1 << 20
CHECKED_AT_ONCE = 256 << 10  # bytes: what a core has near itself


@dataclass(frozen=True)
class Content:
    """A file's bytes, as they were at one moment."""

    data: bytes  # of the whole file; of one that begins as it was known to, what follows
    size: int  # of the whole file, like the next two
    mtime_ns: int
    crc32: str  # hex
    has_grown: bool = False  # whether `data` are only what follows


def load(path: Path, known: tuple[int, str] = (0, "")) -> Content:
    """Read a file whole.

    Parameters
    ----------
    path : Path
        What to read.
    known : (int, str)
        How many bytes it once had, and their CRC-32: of a file that still begins with them only the rest is returned.

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
    begin = _at_once if before.st_size <= CHECKED_AT_ONCE else _in_pieces
    size, start, data = begin(descriptor, known, before.st_size)
    after = os.fstat(descriptor)
    if (before.st_size, before.st_mtime_ns) != (after.st_size, after.st_mtime_ns) or size + len(data) != after.st_size:
        raise RefusedError(Rule.CHANGED, "it changed while it was read; wait for its writer to finish")
    return Content(data, after.st_size, after.st_mtime_ns, _hex(isal_zlib.crc32(data, start)), size > 0)


def _at_once(descriptor: int, known: tuple[int, str], total: int) -> tuple[int, int, bytes]:
    """Return how many first bytes of a small file are as they were known, their CRC-32, and what follows.

    With few calls: at each, threads that read thousands of files hand Python's lock to and fro.
    """
    data = _read(descriptor, total)
    size, crc32 = known
    if 0 < size <= len(data):
        start = isal_zlib.crc32(memoryview(data)[:size])
        if _hex(start) == crc32:
            return size, start, data[size:]
    return 0, 0, data


def _in_pieces(descriptor: int, known: tuple[int, str], total: int) -> tuple[int, int, bytes]:
    """Return the same of a large file, of which first bytes that are as they were known are not kept."""
    size, crc32 = known
    if 0 < size <= total:
        start = _crc32_of_first(descriptor, size)
        if _hex(start) == crc32:
            return size, start, _read(descriptor, total - size)
        os.lseek(descriptor, 0, os.SEEK_SET)
    return 0, 0, _read(descriptor, total)


def _read(descriptor: int, size: int) -> bytes:
    """Return so many bytes, fewer only where the file ends."""
    data = os.read(descriptor, size)
    while len(data) < size and (more := os.read(descriptor, size - len(data))):
        data += more
    return data


def _crc32_of_first(descriptor: int, size: int) -> int:
    """Return the CRC-32 of a file's first bytes, which are looked at and not kept."""
    piece, crc32 = memoryview(bytearray(min(size, CHECKED_AT_ONCE))), 0
    while size and (count := os.readv(descriptor, [piece[:size]])):
        crc32 = isal_zlib.crc32(piece[:count], crc32)
        size -= count
    return crc32


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
