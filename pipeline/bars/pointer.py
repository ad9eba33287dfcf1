"""Which snapshot of a store is the newest one: CURRENT tells, and where that is lost, the newest that is whole.

A commit writes parts and manifest before CURRENT, so a whole snapshot that no CURRENT names was committed, or was about
to be. Readers take it as it is; the next writer writes CURRENT again.
"""

import re
from pathlib import Path

from pipeline.bars.damage import REMOVE_POINTER, corrupt
from pipeline.bars.manifest import Manifest, read_manifest
from pipeline.bars.sweeping import number_of
from pipeline.errors import StoreCorruptError
from pipeline.files import is_there, replace_file
from pipeline.words import counted, listed, shortened

NUMBER = re.compile("[0-9]{1,18}")
SHOWN = 40  # characters of what is in the place of a number


def exists(root: Path) -> bool:
    """Tell whether there is a snapshot at `root`, or was; PermissionError where nobody may look."""
    return is_there(root / "CURRENT") or bool(numbers(root))


def is_lost(root: Path) -> bool:
    """Tell whether there are snapshots at `root`, and no CURRENT."""
    return not is_there(root / "CURRENT") and bool(numbers(root))


def numbers(root: Path) -> list[int]:
    """Return the numbers of the manifests at `root`, ascending."""
    try:
        found = map(number_of, (root / "snapshots").iterdir())
        return sorted(number for number in found if number is not None)
    except (FileNotFoundError, NotADirectoryError):
        return []


def newest(root: Path) -> int:
    """Return the number of the newest snapshot; StoreCorruptError where CURRENT holds none, or none is whole."""
    if not is_there(root / "CURRENT"):
        return newest_whole(root)
    text = (root / "CURRENT").read_text(errors="replace").strip()
    if not NUMBER.fullmatch(text):
        rule = "it holds the number of the newest snapshot and nothing else"
        raise corrupt(root, f"CURRENT holds {shortened(text, SHOWN)!r}", rule, REMOVE_POINTER)
    return int(text)


def point_to(root: Path, number: int) -> None:
    """Make a snapshot the newest one."""
    replace_file(root / "CURRENT", f"{number}\n".encode())


def loss(root: Path, manifest: Manifest) -> str:
    """Return what is to be told where the snapshot of `manifest` is taken since CURRENT is lost; else nothing."""
    if not is_lost(root):
        return ""
    last = max(entry.last for entry in manifest.symbols)
    what = f"the newest that is whole: {counted(len(manifest.symbols), 'symbol')}, last session {last}"
    damaged = [f"snapshots/{number}.json" for number in numbers(root) if number > manifest.number]
    passed = f" (newer and damaged, so that `ingest` removes it: {listed(damaged)})" if damaged else ""
    return (
        f"store {root}: CURRENT is missing, since somebody removed it or a first ingest was killed; snapshot "
        f"{manifest.number} is taken, {what}{passed}. `ingest` writes CURRENT again"
    )


def check_sizes(root: Path, manifest: Manifest) -> None:
    """See that every file of a snapshot is there with its size; StoreCorruptError where one is not."""
    for entry in manifest.files:
        path = root / "parts" / entry.file
        size = path.stat().st_size if is_there(path) else None
        if size is None:
            raise corrupt(root, f"parts/{entry.file} is missing")
        if size != entry.bytes:
            raise corrupt(root, f"parts/{entry.file} has {size} bytes, not {entry.bytes}")


def newest_whole(root: Path) -> int:
    """Return the number of the newest snapshot that is whole, whatever CURRENT says; StoreCorruptError if none is."""
    damage = []
    for number in reversed(numbers(root)):
        try:
            check_sizes(root, read_manifest(root, number))
        except StoreCorruptError as error:
            damage.append(error.what)
        except FileNotFoundError:  # swept meanwhile
            continue
        else:
            return number
    if is_there(root / "CURRENT"):  # a commit came between
        return newest(root)
    raise corrupt(
        root,
        f"CURRENT is missing, and no snapshot is whole ({listed(damage, 2)})",
        "a store with snapshots is no new one",
    )
