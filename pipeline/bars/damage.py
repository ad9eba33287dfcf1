"""What is said of a store that is not as it was committed: what came, the rule that this breaks, and what to do."""

from pathlib import Path

from pipeline.errors import StoreCorruptError

PART = "parts never change after their commit"
MANIFEST = "a manifest never changes after its commit"
REBUILD = (
    "Restore the store from a backup, or rebuild it with `ingest --rebuild`, which loses the bars that the source "
    "files no longer have."
)
REMOVE_POINTER = "Remove CURRENT: `ingest` then goes on from the newest whole snapshot, or says that there is none."
RESTORE_MANIFEST = f"Restore the manifest from a backup, or r{REMOVE_POINTER[1:]}"


def corrupt(root: Path, what: str, rule: str = PART, remedy: str = REBUILD) -> StoreCorruptError:
    """Return the error of a store that is not as it was committed."""
    error = StoreCorruptError(f"store {root}: corrupt, {what}; {rule}. {remedy}")
    error.what = what
    return error
