"""What a batch is warned of: which of it is new tonight, and what people see first of it.

Some warnings stand for months, files that a vendor spoilt, say; the one that came tonight must not drown in them.
"""

import re
from collections.abc import Collection, Iterable

from pipeline.words import counted

UNEVEN = ("stale symbols:", "gaps:")  # how warnings of `pipeline.bars.evenness` begin
FIGURES = re.compile(r"\d{4}-\d\d-\d\d| \d[\d,]*(?=[,;]| of | and |$)")
"""What of these grows night by night: how many symbols and sessions, and up to which one; never a symbol."""


def news(texts: Iterable[str], before: Iterable[str]) -> list[str]:
    """Return the warnings that were not told before; a share that is suspended one session longer was.

    >>> news(["LUV.csv is gone.", "gaps: 2 of 9 symbols: AAL 7"], ["gaps: 1 of 9 symbols: AAL 6"])
    ['LUV.csv is gone.']
    """
    known = set(map(_sense, before))
    return [text for text in texts if _sense(text) not in known]


def by_news(texts: Iterable[str], new: Collection[str]) -> list[str]:
    """Return warnings in the order of interest: new ones, symbols that are behind, and what stood there before."""
    return sorted(texts, key=lambda text: (_is_uneven(text) or text not in new, not _is_uneven(text)))


def in_short(texts: Collection[str], new: Collection[str]) -> str:
    """Return how many warnings there are, how many of them are new, and the first; empty if there are none."""
    if not texts:
        return ""
    fresh = sum(text in new for text in texts)
    return f"{counted(len(texts), 'warning')}{f', {fresh} new' if fresh else ''}: {by_news(texts, new)[0]}"


def whose(first: str, runs: int) -> str:
    """Return whom of so many runs a warning is of: the first one's name, and how many others."""
    return f"{first} and {counted(runs - 1, 'other run')}" if runs > 1 else first


def _is_uneven(text: str) -> bool:
    return text.startswith(UNEVEN)


def _sense(text: str) -> str:
    return FIGURES.sub("", text) if _is_uneven(text) else text
