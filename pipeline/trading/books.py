"""The books checked against themselves, from the fills alone, without the loop that made them."""

import numpy as np

from pipeline.errors import InvariantError
from pipeline.trading.state import Records, State

TOLERANCE = 1e-9  # of the money that was moved


def check_books(cash: float, sessions: np.ndarray, closes: Records, state: State) -> None:
    """Check that the cash of every session, and the last positions, are what the fills say.

    Parameters
    ----------
    cash : float
        What the account began with.
    sessions : array of datetime64[D], (sessions,)
        For the message.
    closes : records of CLOSE, (sessions,)
        The account at every close.
    state : State
        The account after the last session, with all its fills.

    Raises
    ------
    InvariantError
        They differ by more than 1e-9 of the money moved until then; nothing may be published.
    """
    fills = state.fills[: state.account[0].fills]
    day, quantity, paid = fills.session, fills.quantity, fills.commission
    value = quantity * fills.price
    spent = np.cumsum(np.bincount(day, weights=value + paid, minlength=len(sessions)))
    moved = np.cumsum(np.bincount(day, weights=np.abs(value) + paid, minlength=len(sessions)))
    wrong = ~(np.abs(cash - spent - closes.cash) <= TOLERANCE * (cash + moved))
    if wrong.any():
        first = int(np.argmax(wrong))
        raise InvariantError(
            f"trading: cash is {closes.cash[first]:.10g} on {sessions[first]}, the fills until then leave "
            f"{cash - spent[first]:.10g}; they must agree. This is a defect of the trading loop: please report it."
        )
    held = np.bincount(fills.symbol, weights=quantity, minlength=len(state.slots))
    positions = float((held * state.slots.mark).sum())
    if not abs(positions - closes.positions_value[-1]) <= TOLERANCE * (cash + moved[-1] + positions):
        raise InvariantError(
            f"trading: positions are worth {closes.positions_value[-1]:.10g} on {sessions[-1]}, the fills leave "
            f"{positions:.10g}; they must agree. This is a defect of the trading loop: please report it."
        )
