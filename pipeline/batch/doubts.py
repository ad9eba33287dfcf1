"""What a batch is warned of: which of it is new tonight, and what people see first of it.

Some warnings stand for months, files that a vendor spoilt, say; the one that came tonight must not drown in them.
"""

import re
from collections.abc import Collection, Iterable

from pipeline.words import counted

UNEVEN = ("stale symbols:", "gaps:")  # how warnings of `pipeline.bars.evenness` begin
GROWING = re.compile(
    r"(?<=\d of )\d[\d,]*"  # out of how many: 3 of 12 files
    r"|(?<=\w )\d[\d,]*(?=[,;]| and |$)"  # for how long, behind a name: AAL 7, BAC 5
    r"|(?<=before )\d{4}-\d\d-\d\d"  # up to which session
)
"""What of a warning grows night by night while nothing happens. How many files, rows or symbols it is of does not."""


def news(texts: Iterable[str], before: Iterable[str]) -> list[str]:
    """Return the warnings that were not told before, those that differ from one in what grows by itself among them.

    A share suspended one session longer was told, and rows that were refused out of fewer; one row more was not.

    >>> before = ["7 of 11,667 rows refused", "gaps: 1 of 9 symbols: AAL 6"]
    >>> news(["7 of 11,790 rows refused", "gaps: 1 of 10 symbols: AAL 7"], before)
    []
    >>> news(["900 of 12,000 rows refused", "gaps: 1 of 9 symbols: 600519 6"], before)
    ['900 of 12,000 rows refused', 'gaps: 1 of 9 symbols: 600519 6']
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
    return GROWING.sub("", text)
