"""What the updates of a night came to: who took bars in may have died, and more bars come before anybody looks.

So a snapshot keeps what the updates of the hours before it changed and brought, as far as that still holds, and those
before them that nobody told: a command that comes to its end says in the store's file `HEARD` up to which snapshot.
"""

from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from time import time

from pipeline.bars.manifest import News, Update
from pipeline.bars.refusals import csv_safe, refused_shares
from pipeline.bars.store import Snapshot
from pipeline.files import replace_file
from pipeline.words import counted

NIGHT = timedelta(hours=12)  # from an update on
HEARD = "heard"  # a file of the store: the number of the newest snapshot whose news a command told to its end
MOST = 100  # updates that a snapshot keeps


def newest(snapshot: Snapshot) -> Update:
    """Return the update that made a snapshot."""
    manifest = snapshot.manifest
    return Update(snapshot.manifest_file.stat().st_mtime, manifest.revised, manifest.news, manifest.number)


def updates(snapshot: Snapshot) -> list[Update]:
    """Return the update that made a snapshot, however old, after those of the night before it, and what nobody told."""
    return [*_recent(snapshot.root, snapshot.manifest.lately), newest(snapshot)]


def revised_lately(snapshot: Snapshot) -> dict[str, str]:
    """Return what the updates of this night, or some that nobody told, changed in stored bars, by symbol."""
    return revised_by(_recent(snapshot.root, updates(snapshot)))


def acknowledge(snapshot: Snapshot) -> None:
    """Note that what the updates up to this snapshot came to was told; a store that takes no note tells it again."""
    root, number = snapshot.root, snapshot.manifest.number
    if number > _heard(root) and any(_is_worth_telling(update) for update in updates(snapshot)):
        with suppress(OSError):
            replace_file(root / HEARD, f"{number}\n".encode())


def revised_by(several: Sequence[Update]) -> dict[str, str]:
    """Return what some updates changed in stored bars, by symbol, the latest change of each and first."""
    latest: dict[str, str] = {}
    for update in reversed(several):
        for symbol, text in update.revised.items():
            latest.setdefault(symbol, text)
    return latest


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
    holding = (replace(each, news=_holding(each.news, mended, revised)) for each in _recent(before.root, known))
    return tuple(each for each in holding if _is_worth_telling(each))[-MOST:]


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


def _is_worth_telling(update: Update) -> bool:
    return bool(update.revised) or update.news.is_doubtful


def _recent(root: Path, several: Collection[Update]) -> list[Update]:
    heard = _heard(root)
    return [update for update in several if time() - update.at < NIGHT.total_seconds() or update.number > heard]


def _heard(root: Path) -> int:
    with suppress(OSError, ValueError):
        return int((root / HEARD).read_text())
    return 0
