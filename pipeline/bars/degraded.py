"""For what a store counts as degraded: every run that reads it ends with 3, and says why."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from pipeline.bars.lately import poor, revised_lately
from pipeline.bars.refusals import REFUSED, refused_shares
from pipeline.bars.store import Manifest, Snapshot
from pipeline.words import counted, listed


def at_ingest(snapshot: Snapshot, nameless: Sequence[str], warn_above: float) -> str:
    """Return why an ingest ends degraded: for what lasts, and where it is too much for what it refused; else empty."""
    much = any(share > warn_above for share, _ in refused_shares(snapshot.manifest.counts))
    reasons = (lasting(snapshot, nameless, warn_above), refused_at_ingest(snapshot) if much else "")
    return "; ".join(filter(None, reasons))


def lasting(snapshot: Snapshot, nameless: Sequence[str], warn_above: float) -> str:
    """Return for what a store counts as degraded until its files are mended, or bring more; empty for nothing.

    Stored bars that an update changed count for a night.
    """
    manifest = snapshot.manifest
    revised = revised_lately(snapshot)
    disputed = set(manifest.disputed)
    shorter = [symbol for symbol in manifest.held if symbol not in disputed]
    return "; ".join(
        filter(
            None,
            (
                _kept(manifest, shorter, "no longer give all stored bars, which stay"),
                _kept(manifest, sorted(disputed), "would change stored bars, which stay"),
                f"{counted(len(nameless), 'file')} not read, since a name must be UTF-8" if nameless else "",
                poor(snapshot, warn_above),
                _changed(revised, snapshot.root) if revised else "",
            ),
        )
    )


def refused_at_ingest(snapshot: Snapshot) -> str:
    """Return what was refused of the files that a snapshot was made of, and where that is told; empty for nothing."""
    counts = snapshot.manifest.counts
    parts = [
        f"{counts[refused]:,} of {counted(counts[total], what)}" for refused, total, what in REFUSED if counts[refused]
    ]
    where = snapshot.root / "quarantine.csv"
    return f"{' and '.join(parts)} refused when the bars were ingested, see {where}" if parts else ""


def _changed(revised: Mapping[str, str], root: Path) -> str:
    """Return whose stored bars were changed, and of the first symbol how."""
    first = next(iter(revised.values()))
    return f"stored bars of {counted(len(revised), 'symbol')} changed ({first}), see {root / 'revisions.csv'}"


def _kept(manifest: Manifest, symbols: Sequence[str], what: str) -> str:
    """Return of which symbols the stored bars stay against their files, and of the first one why; empty for none."""
    if not symbols:
        return ""
    why = f"{'' if len(symbols) == 1 else 'first '}{manifest.held[symbols[0]]}"
    return f"the files of {counted(len(symbols), 'symbol')} {what}: {listed(symbols)} ({why})"
