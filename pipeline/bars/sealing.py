"""A JSON object that begins with the sha256 of all bytes after it, so that any change is found when it is read."""

import hashlib
import re

SEAL = re.compile(rb'\{"sha256":"([0-9a-f]{64})",')


def sealed(document: bytes) -> bytes:
    """Return a JSON object with its seal as the first key."""
    rest = document[1:]
    return b'{"sha256":"%b",%b' % (hashlib.sha256(rest).hexdigest().encode(), rest)


def is_as_sealed(document: bytes) -> bool | None:
    """Tell whether a document is what its seal says; None where it has none."""
    seal = SEAL.match(document)
    return hashlib.sha256(document[seal.end() :]).hexdigest().encode() == seal[1] if seal else None
