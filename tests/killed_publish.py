"""Publish a run in children that kill themselves at their 1st, 2nd, ... system call, until one lives to its end.

``python killed_publish.py TEMPLATE WHERE`` copies the output folder TEMPLATE, which holds one published run, to
WHERE/1, WHERE/2, ... and lets the n-th child publish another one there. The last of them is the one that lived.
"""

import json
import os
import shutil
import signal
import sys
from pathlib import Path

from pipeline.results import rundir

CALLS = ("mkdir", "open", "fsync", "rename", "replace", "symlink", "rmdir")


def kill_at(call):
    """Replace the calls that change the disk by ones that kill this process when they come to number `call`."""
    seen = 0

    def deadly(real):
        def wrapper(*args, **kwargs):
            nonlocal seen
            seen += 1
            if seen == call:
                os.kill(os.getpid(), signal.SIGKILL)
            return real(*args, **kwargs)

        return wrapper

    for name in CALLS:
        setattr(os, name, deadly(getattr(os, name)))


def publish_again(output):
    """Publish a copy of the newest run of `output` as one more."""
    newest = output / "latest"
    record = json.loads((newest / "run.json").read_bytes())
    with rundir.create(output, "killed") as run:
        run.claim(record["run_key"])
        for name in record["files"].keys() - {"log.jsonl"}:
            shutil.copy(newest / name, run.folder / name)
        run.publish(record)


def main(template, where):
    """Let children die at one call after the other."""
    call, status = 0, None
    while status != 0:
        call += 1
        output = where / str(call)
        shutil.copytree(template, output, symlinks=True)
        child = os.fork()
        if child == 0:
            kill_at(call)
            publish_again(output)
            os._exit(0)
        status = os.waitpid(child, 0)[1]
        if status not in {0, signal.SIGKILL}:
            sys.exit(f"child {call} ended with {status}, neither well nor killed")


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
