"""Which version of this package a process runs: a digest of its modules as they were when this one was imported.

Workers import it with the rest of what they need, so a digest that differs from the parent's tells of code that was
edited since, as well as of another installation.
"""

import hashlib
from pathlib import Path

PACKAGE = Path(__file__).resolve().parents[1]


def digest_of(package: Path) -> str:
    """Return a digest of the modules of a package, whatever folder it lies in."""
    text = hashlib.sha256()
    for path in sorted(package.rglob("*.py")):
        text.update(f"{path.relative_to(package)}\n".encode() + path.read_bytes())
    return text.hexdigest()[:16]


DIGEST = digest_of(PACKAGE)
