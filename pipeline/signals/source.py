"""A strategy's text: found once in the parent, carried to wherever it runs, made a module there.

What travels is text, the strategy's own and that of the modules beside it which it imports, so a file anywhere works
in threads, processes and on a cluster alike, and one sha256 says which code ran.
"""

import ast
import hashlib
import importlib.util
import json
import linecache
import os
import sys
import threading
import tokenize
import traceback
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType

from pipeline.signals.staying import staying

MOST_FRAMES = 50  # of a traceback that is kept
LONGEST_TRACE = 50_000  # characters of it


@dataclass(frozen=True)
class Source:
    """One module's text."""

    module: str  # the dotted name it is imported by
    file: str  # absolute, for tracebacks
    text: str


@dataclass(frozen=True)
class Code:
    """A strategy and the modules beside it that it imports, directly or not."""

    root: str  # the folder that its imports start from
    sources: tuple[Source, ...]  # the strategy first

    @property
    def file(self) -> str:
        """Where the strategy's own text came from."""
        return self.sources[0].file

    @cached_property
    def sha256(self) -> str:
        """Sha256 of all texts; where the files lie does not matter."""
        texts = sorted((source.module, source.text) for source in self.sources[1:])
        return hashlib.sha256(json.dumps([self.sources[0].text, texts]).encode()).hexdigest()

    @cached_property
    def draws(self) -> bool:
        """Whether it may draw random numbers: any text that speaks of them."""
        return any("random" in source.text for source in self.sources)


def gather(file: Path, root: Path, module: str) -> Code:
    """Read a strategy and every module under `root` that it imports.

    Parameters
    ----------
    file : Path
        The strategy's own file.
    root : Path
        The folder its imports start from; a strategy in a package sees its own package there, others all of `root`.
    module : str
        Its dotted name below `root`.

    Raises
    ------
    SyntaxError
        In the strategy or one of those modules.
    OSError, UnicodeDecodeError
        A file cannot be read.
    """
    found = {module: Source(module, str(file), _text(file))}
    package = module.partition(".")[0] if "." in module else None
    waiting = [found[module]]
    while waiting:
        for name in _imports(waiting.pop()):
            if package is None or name.partition(".")[0] == package:
                fresh = [source for source in _below(root, name) if source.module not in found]
                found.update((source.module, source) for source in fresh)
                waiting += fresh
    return Code(str(root), tuple(found.values()))


_loaded: dict[tuple[str, str], ModuleType] = {}
_loading = threading.RLock()


def load(code: Code) -> ModuleType:
    """Return the strategy's module, executed once per process; raises whatever executing it raises."""
    key = (code.file, code.sha256)
    with _loading:
        if key not in _loaded:
            with staying():
                _loaded[key] = _execute(code)
        return _loaded[key]


def last_line(error: BaseException, code: Code) -> str:
    """Return ``file:line`` of the last place in the strategy's own text that an error passed through, or its file."""
    if isinstance(error, SyntaxError) and error.filename and error.lineno:
        return f"{error.filename}:{error.lineno}"
    files = {source.file for source in code.sources}
    place, trace = code.file, error.__traceback__
    while trace:
        if trace.tb_frame.f_code.co_filename in files:
            place = f"{trace.tb_frame.f_code.co_filename}:{trace.tb_lineno}"
        trace = trace.tb_next
    return place


def trace_of(error: BaseException, code: Code) -> str:
    """Return an error as Python tells it, without the frames before the strategy's own text; the last ones of many."""
    files = {source.file for source in code.sources}
    first = error.__traceback__
    while first and first.tb_frame.f_code.co_filename not in files:
        first = first.tb_next
    lines = traceback.format_exception(type(error), error, first or error.__traceback__, limit=-MOST_FRAMES)
    return "".join(lines)[:LONGEST_TRACE]


class _Siblings(MetaPathFinder, Loader):
    """Import the modules that travelled with a strategy from their text."""

    def __init__(self, sources: Sequence[Source]) -> None:
        self.sources = {source.module: source for source in sources}

    def find_spec(self, fullname: str, path: object = None, target: object = None) -> ModuleSpec | None:  # noqa: ARG002
        source = self.sources.get(fullname)
        if source is None:
            return None
        is_package = Path(source.file).name == "__init__.py"
        spec = importlib.util.spec_from_loader(fullname, self, origin=source.file, is_package=is_package)
        if spec:
            spec.has_location = True  # sets __file__
        return spec

    def exec_module(self, module: ModuleType) -> None:
        _run(self.sources[module.__name__], module)


def _execute(code: Code) -> ModuleType:
    own, siblings = code.sources[0], code.sources[1:]
    name = hashlib.sha256(f"{code.file} {code.sha256}".encode()).hexdigest()[:16]
    module = ModuleType(f"strategy_{name}")
    module.__file__ = own.file
    module.__package__ = own.module.rpartition(".")[0]
    if code.root not in sys.path:
        sys.path.append(code.root)  # for what text cannot carry: compiled modules
    finder = _Siblings(siblings)
    hidden = {source.module: sys.modules.pop(source.module, None) for source in siblings}
    sys.modules[module.__name__] = module  # pickle and dataclasses look here
    sys.meta_path.insert(0, finder)
    try:
        _run(own, module)
    except BaseException:
        del sys.modules[module.__name__]
        raise
    finally:
        sys.meta_path.remove(finder)
        for name, before in hidden.items():
            if before is not None and getattr(before, "__file__", None) != finder.sources[name].file:
                sys.modules[name] = before  # another folder's module of the same name
    return module


def _run(source: Source, module: ModuleType) -> None:
    lines = source.text.splitlines(keepends=True)
    linecache.cache[source.file] = (len(source.text), None, lines, source.file)  # tracebacks show the text that ran
    exec(compile(source.text, source.file, "exec"), module.__dict__)  # noqa: S102 - a strategy is the user's own code


def _text(file: Path) -> str:
    with tokenize.open(file) as lines:
        return lines.read()


def _imports(source: Source) -> Iterator[str]:
    """Yield the dotted names a module may import, wherever in its text."""
    is_package = Path(source.file).name == "__init__.py"
    package = source.module if is_package else source.module.rpartition(".")[0]
    for node in ast.walk(ast.parse(source.text, source.file)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            above = package.split(".")[: max(0, package.count(".") + 2 - node.level)] if node.level else []
            base = ".".join([*above, *(node.module or "").split(".")]).strip(".")
            yield base
            yield from (f"{base}.{alias.name}" for alias in node.names)


def _below(root: Path, name: str) -> list[Source]:
    """Return the module `name` and the packages around it if it lies below `root`, else nothing."""
    parts = name.split(".")
    stem = root.joinpath(*parts)
    if not name or not (stem.with_name(f"{stem.name}.py").is_file() or (stem / "__init__.py").is_file()):
        return []
    sources = []
    for depth in range(1, len(parts) + 1):
        place = root.joinpath(*parts[:depth])
        file = place / "__init__.py" if place.is_dir() else place.with_name(f"{place.name}.py")
        sources.append(Source(".".join(parts[:depth]), os.fspath(file), _text(file) if file.is_file() else ""))
    return sources
