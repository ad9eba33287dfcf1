"""The bytes of a text file as UTF-8, or where they are no text."""

import re
from collections.abc import Sequence

from pipeline.bars.quality import RefusedError, Rule
from pipeline.words import counted

ENCODINGS = ("utf-8", "gb18030")
MOST_SHOWN = 4  # bytes of a flaw: two Chinese letters
_NOT_ASCII = re.compile(rb"[\x80-\xff]+")


def as_utf8(data: bytes, encoding: str) -> bytes:
    """Return text in `encoding` as UTF-8 with newlines; RefusedError where it is none."""
    if not data.isascii() or b"\0" in data:
        others = [other for other in ENCODINGS if other != encoding and _is_text_in(other, data)]
        # Chinese text in GB18030 is no UTF-8, but the other way round it may pass, as gibberish
        if not _is_text_in(encoding, data) or (encoding == "gb18030" and others):
            raise RefusedError(Rule.ENCODING, f"not {encoding.upper()} text: {_flaw(data, encoding)}. {_cure(others)}.")
        data = data if encoding == "utf-8" else data.decode(encoding).encode()
    return data.replace(b"\r\n", b"\n").replace(b"\r", b"\n") if b"\r" in data else data


def _cure(others: Sequence[str]) -> str:
    """Return what to do with bytes that are text in other encodings: GB18030 may be anything, UTF-8 hardly."""
    if "gb18030" in others:
        return "Set data.encoding to gb18030 if it is Chinese, else save it as UTF-8 CSV"
    return "Set data.encoding to utf-8, if it is that" if others else "Save it as UTF-8 CSV"


def _flaw(data: bytes, encoding: str) -> str:
    """Return what shows that bytes are no text: what they are instead, or where they are none."""
    if data.startswith((b"\xff\xfe", b"\xfe\xff", b"PK", b"PAR1", b"\x1f\x8b")):
        return f"starts with {data[:12]!r}"
    nul = data.find(b"\0")
    if nul >= 0:
        line, before = data.count(b"\n", 0, nul) + 1, data[max(nul - 12, 0) : nul]
        return f"{counted(data.count(0), 'NUL byte')}, the first in line {line} after {before!r}; text has none"
    place = _first_flaw(data, encoding)
    start = data.rfind(b"\n", 0, place) + 1
    line, before = data.count(b"\n", 0, place) + 1, data[max(place - 12, start) : place]
    came = _NOT_ASCII.findall(data[place : place + MOST_SHOWN])[0]
    return f"line {line}, byte {place - start + 1}: {came!r}{f' after {before!r}' if before else ''}"


def _first_flaw(data: bytes, encoding: str) -> int:
    """Return the place of the first byte that is no text in an encoding, else of the first that is not ASCII."""
    for each in (encoding, "ascii"):
        try:
            data.decode(each)
        except UnicodeDecodeError as error:
            return error.start
    return 0


def _is_text_in(encoding: str, data: bytes) -> bool:
    try:
        data.decode(encoding)
    except UnicodeDecodeError:
        return False
    return b"\0" not in data
