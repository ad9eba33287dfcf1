"""What the updates of a night came to: who took bars in may have died, and more bars come before anybody looks.

So a snapshot keeps what the updates of the hours before it changed and brought, as far as that still holds.
"""

from collections.abc import Collection, Iterator, Mapping
from dataclasses import replace
from datetime import timedelta
from time import time

from pipeline.bars.manifest import News, Update
from pipeline.bars.refusals import csv_safe, refused_shares
from pipeline.bars.store import Snapshot
from pipeline.words import counted

NIGHT = timedelta(hours=12)  # from an update on


def newest(snapshot: Snapshot) -> Update:
    """Return the update that made a snapshot."""
    return Update(snapshot.manifest_file.stat().st_mtime, snapshot.manifest.revised, snapshot.manifest.news)


def updates(snapshot: Snapshot) -> list[Update]:
    """Return the update that made a snapshot, however old, after those of the night before it."""
    return [*_young(snapshot.manifest.lately), newest(snapshot)]


def revised_lately(snapshot: Snapshot) -> dict[str, str]:
    """Return what the updates of this night changed in stored bars, by symbol."""
    return revised_by(_young(updates(snapshot)))


def revised_by(several: Collection[Update]) -> dict[str, str]:
    """Return what some updates changed in stored bars, by symbol, the latest change of each."""
    return {symbol: text for update in several for symbol, text in update.revised.items()}


def poor(snapshot: Snapshot, warn_above: float) -> str:
    """Return what was refused of that which an update brought, where it is more than `warn_above` of it."""
    texts = (text for update in updates(snapshot) for text in _poor(update.news, warn_above))
    return "; ".join(dict.fromkeys(texts))


def _poor(news: News, warn_above: float) -> Iterator[str]:
    told = (f"{news.files_refused:,} of {counted(news.files, 'new file')} refused", news.refused)
    for (share, _), words in zip(refused_shares(news.counts), told, strict=True):
        if share > warn_above:
            yield words


def carried(
    before: Snapshot, mended: Collection[str], revised: Mapping[str, str], *, is_empty: bool
) -> tuple[Update, ...]:
    """Return what the next snapshot is to keep of the updates before it.

    Parameters
    ----------
    before : Snapshot
        The newest one.
    mended : collection of str
        Files of which nothing is refused now, or that disappeared: nothing that was refused of them holds.
    revised : mapping
        The symbols whose stored bars the next update changes: jumps before it may have been what was wrong.
    is_empty : bool
        Whether the next update brings nothing: then it takes over what the one before came to.
    """
    known = before.manifest.lately if is_empty else (*before.manifest.lately, newest(before))
    holding = (replace(each, news=_holding(each.news, mended, revised)) for each in _young(known))
    return tuple(each for each in holding if each.revised or each.news.is_doubtful)


def without(news: News, mended: Collection[str]) -> News:
    """Return news without what was refused of files of which nothing is refused any more."""
    paths = {csv_safe(path) for path in mended}
    files = tuple(file for file in news.refused_files if file not in paths)
    left = replace(news, files=news.files - len(news.refused_files) + len(files), refused_files=files)
    if not paths.issuperset(news.rows_from):
        return left
    return replace(left, rows=news.rows - news.rows_refused, rows_refused=0, refused="", rows_from=())


def _holding(news: News, mended: Collection[str], revised: Mapping[str, str]) -> News:
    jumps = tuple(text for text in news.jumps if text.partition(":")[0] not in revised)
    return replace(without(news, mended), jumps=jumps)


def _young(several: Collection[Update]) -> list[Update]:
    return [update for update in several if time() - update.at < NIGHT.total_seconds()]
