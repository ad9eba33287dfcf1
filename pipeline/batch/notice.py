"""The command that hears of a batch that did not end with 0."""

import json
import subprocess
from collections.abc import Sequence
from dataclasses import asdict

from pipeline.batch.record import BatchRecord
from pipeline.errors import TemporaryError

TIMEOUT = 60.0  # seconds


def tell(words: Sequence[str], told: BatchRecord) -> None:
    """Run a command, without a shell, and give it the batch's record as JSON on stdin.

    Raises
    ------
    TemporaryError
        It cannot be started, takes too long, or fails.
    """
    content = json.dumps({**asdict(told), "counts": told.counts}, ensure_ascii=False).encode()
    try:
        done = subprocess.run(list(words), input=content, capture_output=True, timeout=TIMEOUT, check=False)  # noqa: S603
    except OSError as error:
        raise TemporaryError(f"{words[0]}: {error.strerror}; a command expected. Correct on_failure.") from None
    except subprocess.TimeoutExpired:
        raise TemporaryError(
            f"{words[0]}: took longer than {TIMEOUT:g} s and was ended; a notice is short. Correct on_failure."
        ) from None
    if done.returncode:
        last = done.stderr.decode(errors="replace").strip().rpartition("\n")[2]
        raise TemporaryError(
            f"{words[0]}: ended with {done.returncode}: {last or 'no word on stderr'}; "
            f"0 expected of a command that told somebody. Correct on_failure, or what it calls."
        )
