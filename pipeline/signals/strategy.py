"""A strategy by its name: found, read, checked, and fit to travel to any worker."""

import importlib.util
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Any

import pandas as pd

from pipeline.errors import ConfigError
from pipeline.interrupts import is_own
from pipeline.modes import Complexity
from pipeline.signals.params import Option, converted, options_of
from pipeline.signals.source import Code, gather, last_line, load

FOLDER = Path(__file__).resolve().parents[2] / "strategies"
LATER = ("score", "pair", "fit")


@dataclass(frozen=True)
class Strategy:
    """A strategy with its options: plain data, so that it pickles anywhere and hashes the same everywhere."""

    name: str
    file: str
    sha256: str  # of its text and that of the modules beside it
    params: dict[str, Any]  # every option, defaults included
    columns: tuple[str, ...] | None  # what it reads of the bars; None: everything there is
    code: Code = field(repr=False)
    complexity: Complexity | None = None  # what it says of itself, so that nobody need measure
    releases_gil: bool | None = None

    def function(self) -> Callable[[pd.DataFrame], Any]:
        """Return its `signal` with the options filled in; the text is executed once per process."""
        return partial(load(self.code).signal, **self.params)

    def __call__(self, bars: pd.DataFrame) -> Any:
        """Return what it answers for one symbol's bars, unchecked."""
        return self.function()(bars)

    def __dask_tokenize__(self) -> tuple:
        """Identify it for Dask, the same in every process; by its file too, which its errors name."""
        return ("strategy", self.name, self.file, self.sha256, sorted(self.params.items()), self.columns)


@dataclass(frozen=True)
class Listed:
    """A line of the `strategies` command."""

    name: str
    summary: str  # first line of its docstring; what is wrong with it, if it cannot be used
    options: tuple[Option, ...]


def load_strategy(name: str, params: Mapping[str, Any], folder: Path | None = None) -> Strategy:
    """Find a strategy, execute its text once, and fit `params` to its options.

    Parameters
    ----------
    name : str
        ``rsi`` is ``strategies/rsi.py``, ``package.module`` anything importable, ``path/to/file.py`` a file anywhere.
    params : mapping
        Options by name, as text or as values.
    folder : Path, optional
        Where names without dot or slash are looked up.

    Raises
    ------
    ConfigError
        There is no such strategy, its text fails, it has no `signal` of the right form, or an option is wrong.
    """
    code = _find(name, folder or FOLDER)
    short = short_name(name)
    module = _checked(code, short)
    options = options_of(module.signal, short)
    return Strategy(
        name=short,
        file=code.file,
        sha256=code.sha256,
        params=converted(params, options, short),
        columns=_columns(module, short),
        code=code,
        complexity=_complexity(module, short),
        releases_gil=_releases_gil(module, short),
    )


def short_name(name: str) -> str:
    """Return what a strategy is called, from `strategy.name`: of a path the name of its file, without ending."""
    return Path(name).stem if name.endswith(".py") else name


def strategies(folder: Path | None = None) -> list[Listed]:
    """Return the strategies of `folder`, by name, broken ones with what is wrong with them."""
    return [_listed(name, folder or FOLDER) for name in _names(folder or FOLDER)]


def _listed(name: str, folder: Path) -> Listed:
    try:
        module = _checked(_find(name, folder), name)
        options = options_of(module.signal, name)
    except ConfigError as error:
        return Listed(name, str(error), ())
    return Listed(name, (module.__doc__ or "").strip().partition("\n")[0], options)


def _names(folder: Path) -> list[str]:
    return sorted(file.stem for file in folder.glob("*.py") if not file.stem.startswith("_"))


def _find(name: str, folder: Path) -> Code:
    """Return the text of the strategy that `name` means."""
    if name.endswith(".py") or "/" in name or os.sep in name:
        file = Path(name).expanduser().resolve()
        root, module = file.parent, file.stem
    elif "." in name:
        file = _importable(name)
        module = f"{name}.__init__" if file.name == "__init__.py" else name
        root = file.parents[module.count(".")]
    else:
        file = folder.resolve() / f"{name}.py"
        root, module = file.parents[1], f"{file.parent.name}.{name}"
    if not os.path.isfile(file):  # noqa: PTH113 - unlike Path.is_file it never raises, as of a name that is too long
        raise ConfigError(_unknown(name, file, folder))
    try:
        return gather(file, root, module)
    except (SyntaxError, UnicodeDecodeError) as error:
        line = f" line {error.lineno}" if isinstance(error, SyntaxError) and error.lineno else ""
        where = (isinstance(error, SyntaxError) and error.filename) or file
        raise ConfigError(
            f"strategy {name!r}: {where}{line} is not Python ({getattr(error, 'msg', error)}); its text must compile. "
            f"Repair that line."
        ) from None
    except OSError as error:
        raise ConfigError(
            f"strategy {name!r}: {error.filename} cannot be read ({error.strerror}); its text is needed. "
            f"Check the file's permissions."
        ) from None


def _unknown(name: str, file: Path, folder: Path) -> str:
    names = _names(folder)
    if file.parent != folder.resolve():
        return f"strategy {name!r}: there is no file {file}; a path names a Python file. Check strategy.name."
    close = get_close_matches(name, names, 1)
    guess = f" Did you mean {close[0]!r}?" if close else ""
    return (
        f"strategy {name!r}: there is no {file}; known are {', '.join(names) or 'none'}.{guess} "
        f"A file of your own is named by its path, as in strategy.name=path/to/file.py."
    )


def _importable(name: str) -> Path:
    """Return the file of an importable module; its packages are imported on the way, as Python does."""
    try:
        spec = importlib.util.find_spec(name)
    except (ImportError, AttributeError, ValueError, SyntaxError) as error:
        raise ConfigError(
            f"strategy {name!r}: it cannot be imported ({error}); a dotted name is an importable module. "
            f"Check PYTHONPATH, or give the file's path."
        ) from None
    if spec is None or spec.origin is None or not spec.origin.endswith(".py"):
        raise ConfigError(
            f"strategy {name!r}: there is no such Python module; a dotted name is an importable module of Python text. "
            f"Check the spelling, or give the file's path."
        )
    return Path(spec.origin).resolve()


def _checked(code: Code, name: str) -> ModuleType:
    """Execute the strategy's text and check that it has a `signal`."""
    try:
        module = load(code)
    except (Exception, SystemExit, KeyboardInterrupt) as error:
        if not is_own(error):
            raise
        raise ConfigError(
            f"strategy {name!r}: {last_line(error, code)} raised {type(error).__name__}: {error}; "
            f"a strategy can be imported. Repair that line."
        ) from error
    found = getattr(module, "signal", None)
    if callable(found):
        return module
    if found is not None:
        what = f"its `signal` is a {type(found).__name__}, not a function"
    elif later := [each for each in LATER if callable(getattr(module, each, None))]:
        what = f"its function is `{later[0]}`, which is not available in this version"
    else:
        what = "it has no function `signal`"
    raise ConfigError(
        f"strategy {name!r}: {what}; a strategy is a module with a function `signal`. "
        f"Add `def signal(bars, *, window: int = 20):` to {code.file}."
    )


def _columns(module: ModuleType, name: str) -> tuple[str, ...] | None:
    columns = getattr(module, "COLUMNS", None)
    if columns is None:
        return None
    if not columns or not isinstance(columns, tuple | list) or not all(isinstance(each, str) for each in columns):
        raise ConfigError(
            f"strategy {name!r}: its COLUMNS are {columns!r}; they name the columns it reads. "
            f'Write COLUMNS = ("close", "volume"), or leave it out to read all.'
        )
    return tuple(dict.fromkeys(columns))


def _complexity(module: ModuleType, name: str) -> Complexity | None:
    said = getattr(module, "COMPLEXITY", None)
    if said is None or said in list(Complexity):
        return None if said is None else Complexity(said)
    raise ConfigError(
        f"strategy {name!r}: its COMPLEXITY is {said!r}; {' or '.join(Complexity)} expected. "
        f"Repair it, or leave it out to have it measured."
    )


def _releases_gil(module: ModuleType, name: str) -> bool | None:
    said = getattr(module, "RELEASES_GIL", None)
    if said is None or isinstance(said, bool):
        return said
    raise ConfigError(
        f"strategy {name!r}: its RELEASES_GIL is {said!r}; True or False expected. "
        f"Repair it, or leave it out to have it measured."
    )
