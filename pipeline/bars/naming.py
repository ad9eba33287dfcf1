"""The symbol that a file's name tells, and whether it is the one inside."""

import re
from collections.abc import Sequence
from functools import lru_cache

from pipeline.bars.quality import RefusedError, Rule, is_symbol

_SUFFIX = re.compile(r"(\.csv|\.txt)(\.gz)?\Z|\.parquet\Z")
ANYTHING = ".+?"
_SYMBOL = f"(?P<symbol>{ANYTHING})"
_DATE = r"[0-9]{4}[-_.]?[0-9]{2}[-_.]?[0-9]{2}"
_EXCHANGE = re.compile(r"\A(sh|sz|bj)\.?(?=[0-9]{6}\Z)|\.[a-z]{1,4}\Z")  # sh.600000, SZ000001; 000001.SZ, AAPL.US


def symbol_of(name: str, file_pattern: str) -> str | None:
    """Return the symbol that a file's name tells by ``data.file_pattern``, None if it does not fit.

    A pattern without ``{symbol}`` never does. ``{symbol}`` is as short as the rest allows, ``{date}`` a date if that
    fits, else anything like every other
    ``{name}``; the suffixes ``.csv .csv.gz .txt .txt.gz .parquet`` are equivalent.

    >>> symbol_of("DA-T-T-2021-04-21.csv", "DA-{symbol}-T-{date}.csv")
    'T'
    """
    for pattern in _patterns(file_pattern):
        found = pattern.fullmatch(_stem(name))
        symbol = found and found.groupdict().get("symbol")
        if symbol and is_symbol(symbol):
            return symbol
    return None


@lru_cache(maxsize=8)
def _patterns(file_pattern: str) -> tuple[re.Pattern[str], ...]:
    """Return what a file's name must look like, with ``{date}`` a date, and with it anything."""
    parts = re.split(r"(\{\w+\})", _stem(file_pattern))
    return tuple(re.compile(_regex(parts, {"{symbol}": _SYMBOL, "{date}": date})) for date in (_DATE, ANYTHING))


def _regex(parts: Sequence[str], kinds: dict[str, str]) -> str:
    """Return what matches a file's name, in a time that does not explode with the number of placeholders.

    What stands for anything ends where the text after it first stands, for good (an atomic group), since a later place
    would leave less for the rest; not so before a date, or where that text must end the name.
    """
    pieces = [kinds.pop(part, ANYTHING) if part[:1] == "{" else re.escape(part) for part in parts if part]
    wild = (ANYTHING, _SYMBOL, _DATE)
    made = ""
    while pieces:
        piece, *pieces = pieces
        if piece == ANYTHING and pieces[:1] == [ANYTHING]:
            made += "."
        elif piece == ANYTHING and len(pieces) > 1 and pieces[0] not in wild and pieces[1] != _DATE:
            text, *pieces = pieces
            made += f"(?>{ANYTHING}{text})"
        else:
            made += piece
    return made


def _stem(name: str) -> str:
    return _SUFFIX.sub("", name)


def check_name(named: str | None, inside: str, where: str) -> None:
    """Refuse a file of one symbol whose name is another: one of the two is wrong.

    A name that is written otherwise, ``prices`` beside ``AAPL``, is taken for no symbol.

    Parameters
    ----------
    named : str or None
        Symbol by the file's name.
    inside : str
        The one that all its rows are of.
    where : str
        What says so, as in "column 'Symbol'".

    Raises
    ------
    RefusedError
        The name is another symbol.
    """
    if named is None or agree(named, inside):
        return
    if named.isdecimal() and named.lstrip("0") == inside:
        raise RefusedError(
            Rule.FILE_NAME,
            f"the name says {named!r}, {where} {inside!r} throughout; leading zeros were lost, as in a spreadsheet. "
            f"Write the code as text.",
        )
    if _form(named) == _form(inside):
        raise RefusedError(
            Rule.FILE_NAME,
            f"the name says {named!r}, {where} {inside!r} throughout; they must agree. Rename the file, or set "
            f"data.file_pattern to '{{name}}.csv' if names tell no symbol.",
        )


def agree(one: str, other: str) -> bool:
    """Tell whether two texts may name the same symbol: but for case, punctuation and exchange they are alike.

    >>> agree("000001", "000001.SZ"), agree("BRK-B", "brk.b"), agree("AAPL", "MSFT")
    (True, True, False)
    """
    return not _ways(one).isdisjoint(_ways(other))


def _ways(symbol: str) -> set[str]:
    """Return how a symbol may be written: whole and without its exchange, letters and digits only."""
    text = symbol.casefold()
    return {"".join(filter(str.isalnum, way)) for way in (text, _EXCHANGE.sub("", text))}


def _form(symbol: str) -> str:
    """Return how a symbol is written: in capitals, small letters, or so many digits."""
    bare = "".join(filter(str.isalnum, _EXCHANGE.sub("", symbol.casefold())))
    if bare.isdigit():
        return "0" * len(bare)
    return "A" if symbol.isupper() else "a"
