"""The books checked against themselves, from the fills and payments alone, without the loop that made them."""

import numpy as np

from pipeline.errors import InvariantError
from pipeline.trading.ledger import Clock
from pipeline.trading.state import Records, State

TOLERANCE = 1e-9  # of the money that was moved


def check_books(cash: float, clock: Clock, closes: Records, state: State) -> None:
    """Check that the cash of every session, and the last positions, are what the fills and payments say.

    Parameters
    ----------
    cash : float
        What the account began with.
    clock : Clock
        The times of the run.
    closes : records of CLOSE, (sessions,)
        The account at every close.
    state : State
        The account after the last session, with all its fills and payments.

    Raises
    ------
    InvariantError
        They differ by more than 1e-9 of the money moved until then; nothing may be published.
    """
    account, sessions = state.account[0], clock.sessions.astype("datetime64[D]")
    fills, payments = state.fills[: account.fills], state.payments[: account.payments]
    value = fills.quantity * fills.price
    filled, paid, count = clock.day[fills.time], clock.day[payments.time], len(sessions)
    changed = _by_session(paid, payments.cash, count) - _by_session(filled, value + fills.commission, count)
    moved = _by_session(filled, np.abs(value) + fills.commission, count)
    moved += _by_session(paid, np.abs(payments.cash), count)
    wrong = ~(np.abs(cash + changed - closes.cash) <= TOLERANCE * (cash + moved))
    if wrong.any():
        first = int(np.argmax(wrong))
        raise InvariantError(
            f"trading: cash is {closes.cash[first]:.10g} on {sessions[first]}, the fills until then leave "
            f"{cash + changed[first]:.10g}; they must agree. This is a defect of the trading loop: please report it."
        )
    symbols = len(state.slots)
    shares = np.bincount(fills.symbol, weights=fills.quantity, minlength=symbols)
    shares += np.bincount(payments.symbol, weights=payments.shares, minlength=symbols)
    positions = float((shares * state.slots.mark).sum())
    gross = float(closes.gross[-1])
    if not abs(positions - closes.positions_value[-1]) <= TOLERANCE * (cash + moved[-1] + gross):
        raise InvariantError(
            f"trading: positions are worth {closes.positions_value[-1]:.10g} on {sessions[-1]}, the fills leave "
            f"{positions:.10g}; they must agree. This is a defect of the trading loop: please report it."
        )


def _by_session(session: np.ndarray, money: np.ndarray, count: int) -> np.ndarray:
    """Return the sum of `money` up to each of `count` sessions."""
    return np.cumsum(np.bincount(session, weights=money, minlength=count))
