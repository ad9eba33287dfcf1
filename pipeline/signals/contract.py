"""A strategy held to its word: one opinion for every bar, each NaN or between -1 and 1, or an error that says where."""

import threading
import warnings
import zlib
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd

from pipeline.errors import StrategyError, TemporaryError
from pipeline.interrupts import is_own
from pipeline.signals.source import last_line, trace_of
from pipeline.signals.strategy import Strategy
from pipeline.words import counted

NUMBERS = "biuf"  # numpy's kinds: truth values, whole numbers, floats
LONGEST = 500  # characters of a strategy's own error text


class Breach(Exception):  # noqa: N818 - an answer, not a failure; never leaves this module
    """What a strategy answered, the rule it broke, and what to do."""


@dataclass(frozen=True)
class Contract:
    """A strategy at work, asked symbol by symbol."""

    strategy: Strategy
    known: Sequence[str]  # the columns that bars can have

    @cached_property
    def signal(self) -> Callable[[pd.DataFrame], Any]:
        """The strategy's function, its options filled in."""
        return self.strategy.function()

    def opinions(self, symbol: str, bars: pd.DataFrame) -> np.ndarray:
        """Return the exposure wanted after each close of one symbol: float64, (sessions,), NaN for no opinion.

        Parameters
        ----------
        symbol : str
            Whose bars; also seeds NumPy's global generator, so that the strategy draws the same numbers anywhere.
        bars : DataFrame, (sessions, columns)
            On the ascending index `session`. Pandas copies on write: what a strategy changes in it, nobody else sees.

        Raises
        ------
        StrategyError
            The strategy raised, or its answer breaks the contract.
        TemporaryError
            It ran out of memory.
        """
        try:
            if self.strategy.code.draws:
                with _drawing:
                    np.random.seed(zlib.crc32(symbol.encode()))  # noqa: NPY002 - this is the one to seed
                    return _accepted(self.signal(bars), bars)
            return _accepted(self.signal(bars), bars)
        except Breach as breach:
            came, rule, cure = breach.args
            who, place = f"signals: strategy {self.strategy.name!r}", self._place(symbol, bars)
            raise StrategyError(f"{who} answered {came} for {place}; {rule}. {cure}.") from breach
        except MemoryError as error:
            raise TemporaryError(self._failure(error, symbol, bars, "Give it more memory, or fewer workers")) from error
        except (Exception, SystemExit, KeyboardInterrupt) as error:
            if not is_own(error):
                raise
            failed = StrategyError(self._failure(error, symbol, bars, self._cure(error, bars)))
            failed.trace = trace_of(error, self.strategy.code)
            raise failed from error

    def _place(self, symbol: str, bars: pd.DataFrame) -> str:
        dates = f"{bars.index[0].date()}..{bars.index[-1].date()}"
        return f"the {counted(len(bars), 'bar')} of {symbol!r} ({dates})"

    def _failure(self, error: BaseException, symbol: str, bars: pd.DataFrame, cure: str) -> str:
        text = " ".join(str(error).split())[:LONGEST]
        what = f"{type(error).__name__}: {text}" if text else type(error).__name__
        return (
            f"signals: strategy {self.strategy.name!r} raised {what}, at "
            f"{last_line(error, self.strategy.code)}, for {self._place(symbol, bars)}; a strategy answers for every "
            f"symbol. {cure}."
        )

    def _cure(self, error: BaseException, bars: pd.DataFrame) -> str:
        """Say what to do; a column that exists but was not declared is the usual slip."""
        if isinstance(error, KeyError | AttributeError):
            for name in self.known:
                if name not in bars and f"'{name}'" in str(error):
                    return f"Add {name!r} to its COLUMNS, which are {self.strategy.columns}"
        return "Check strategy.params, repair that line, or leave the symbol out of data.symbols"


class _Quiet:
    """Ignore warnings in here: a strategy would give the same ones for every symbol, in every worker.

    `warnings.catch_warnings` is for one thread; of two that overlap, the later one would restore the other's silence.
    """

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.inside = 0
        self.silence = ExitStack()

    def __enter__(self) -> None:
        with self.lock:
            if self.inside == 0:
                self.silence.enter_context(warnings.catch_warnings())
                warnings.simplefilter("ignore")
            self.inside += 1

    def __exit__(self, *_: object) -> None:
        with self.lock:
            self.inside -= 1
            if self.inside == 0:
                self.silence.close()


quiet = _Quiet()
_drawing = threading.Lock()  # threads share the global random generator


def _accepted(answer: Any, bars: pd.DataFrame) -> np.ndarray:
    """Return an answer as float64 if it keeps the contract."""
    if isinstance(answer, pd.Series) and not answer.index.equals(bars.index) and len(answer) == len(bars):
        raise Breach("a Series on another index", "a Series keeps the order of the bars", "Build it on bars.index")
    values = _numbers(answer)
    if len(values) != len(bars):
        raise Breach(counted(len(values), "value"), "lengths must agree", "Answer NaN where there is no opinion")
    breaches = np.abs(values) > 1  # NaN is not
    if breaches.any():
        place = int(np.argmax(breaches))
        came = f"{float(values[place])!r} on {bars.index[place].date()}"
        raise Breach(came, "an opinion is NaN or lies between -1 and 1", "Scale or clip it")
    return values


def _numbers(answer: Any) -> np.ndarray:
    """Return a Series, array or list of numbers as float64, one dimension."""
    kind = type(answer).__name__
    if not isinstance(answer, pd.Series | pd.Index | pd.api.extensions.ExtensionArray | np.ndarray | list | tuple):
        raise Breach(f"a {kind}", "a Series, an array or a list answers", "Return one value for each bar")
    try:
        values = np.asarray(answer) if isinstance(answer, list | tuple) else answer
    except ValueError:
        raise Breach(f"a ragged {kind}", "one value answers each bar", "Return numbers, not lists") from None
    if values.ndim != 1:
        raise Breach(f"{values.ndim} dimensions", "one value answers each bar", "Return one column")
    if len(values) and values.dtype.kind not in NUMBERS:
        raise Breach(f"a {kind} of {values.dtype}", "opinions are numbers", "Convert it to float64, None to NaN")
    if isinstance(values, np.ndarray):
        return values.astype(np.float64, copy=False)
    return values.to_numpy(np.float64, na_value=np.nan)
