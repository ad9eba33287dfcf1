"""How this folder asks Numba: no GIL held, no fast maths, machine code kept between runs.

Numba's cache does not notice that a callee in another file has changed, so its folder is named after a hash of every
file here and of the versions involved: ``~/.cache/pipeline/trading-<hash>`` (``XDG_CACHE_HOME`` is obeyed). Cached code
is executed, so a folder that others could write to is not used; where HOME is missing or cannot be written, a folder
of this user's under the temporary directory takes its place, and without that nothing is kept.
"""

import hashlib
import os
import platform
import stat
import tempfile
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, Literal, TypeVar

import llvmlite
import numba
import numpy as np
from llvmlite import ir
from numba.core import cgutils, types
from numba.extending import intrinsic

Function = TypeVar("Function", bound=Callable)
SETTINGS: Any = numba.config  # its names exist only once it is imported


def fingerprint() -> str:
    """Return a hash of the sources of this folder and of the versions that make machine code of them."""
    digest = hashlib.sha256()
    for path in sorted(Path(__file__).parent.glob("*.py")):
        digest.update(path.read_bytes())
    digest.update(repr((numba.__version__, llvmlite.__version__, np.__version__, platform.python_version())).encode())
    return digest.hexdigest()[:16]


def cache_folder() -> Path | None:
    """Return the folder for machine code, made if need be and private to this user; None if there can be none."""
    name = f"trading-{fingerprint()}"
    return next((folder / name for folder in _bases() if _is_private(folder / name)), None)


def _bases() -> Iterator[Path]:
    home = os.environ.get("XDG_CACHE_HOME", "")
    if Path(home).is_absolute():
        yield Path(home) / "pipeline"
    else:
        with suppress(RuntimeError):  # neither HOME nor an entry in the password file
            yield Path.home() / ".cache" / "pipeline"
    yield Path(tempfile.gettempdir()) / f"pipeline-{os.getuid()}"


def _is_private(folder: Path) -> bool:
    """Make `folder` and tell whether this user, and nobody else, may write there."""
    try:
        folder.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        folder.mkdir(mode=0o700, exist_ok=True)
        ours = [os.lstat(path) for path in (folder.parent, folder)]
    except OSError:
        return False
    private = all(s.st_uid == os.getuid() and stat.S_ISDIR(s.st_mode) and not s.st_mode & 0o022 for s in ours)
    return private and os.access(folder, os.W_OK | os.X_OK)


FOLDER = None if SETTINGS.DISABLE_JIT else cache_folder()


def is_warm() -> bool:
    """Tell whether machine code was kept by an earlier run of this version; else the first call compiles."""
    return bool(SETTINGS.DISABLE_JIT) or (FOLDER is not None and any(FOLDER.iterdir()))


def compiled(function: Function) -> Function:
    """Compile `function` with Numba at its first call."""
    return _jitted(function, "never")


def inlined(function: Function) -> Function:
    """Compile `function` into its callers: what many arrays are handed to at every bar, each of which Numba counts."""
    return _jitted(function, "always")


def _jitted(function: Function, inline: Literal["never", "always"]) -> Function:
    """Compile with Numba; its cache setting is ours for this moment only."""
    if SETTINGS.DISABLE_JIT:
        return function
    before = SETTINGS.CACHE_DIR
    SETTINGS.CACHE_DIR = str(FOLDER or "")
    try:
        return numba.njit(function, cache=FOLDER is not None, nogil=True, error_model="numpy", inline=inline)
    finally:
        SETTINGS.CACHE_DIR = before


def prefetch(array: np.ndarray, place: int) -> None:
    """Have the processor fetch ``array[place]`` meanwhile; the place need not exist. Uncompiled it does nothing."""


def _prefetched(_: Any, array: types.Array, place: types.Integer) -> tuple:
    """Emit LLVM's ``prefetch``: to be read, kept in every cache, data."""

    def emit(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        values, place = context.make_array(signature.args[0])(context, builder, arguments[0]), arguments[1]
        pointer, number = ir.IntType(8).as_pointer(), ir.IntType(32)
        kind = ir.FunctionType(ir.VoidType(), [pointer, number, number, number])
        fetch = cgutils.get_or_insert_function(builder.module, kind, "llvm.prefetch.p0")
        where = builder.bitcast(builder.gep(values.data, [place]), pointer)
        builder.call(fetch, [where, number(0), number(3), number(1)])
        return context.get_dummy_value()

    return types.void(array, place), emit


if not SETTINGS.DISABLE_JIT:
    prefetch = intrinsic(_prefetched)  # type: ignore[assignment]
