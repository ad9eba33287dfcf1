"""How late the bars are: sessions of the exchange between the newest bar and the day it is asked."""

import warnings
from collections.abc import Sequence
from datetime import date, timedelta
from typing import Any

from pipeline.errors import ConfigError, DataError
from pipeline.options import FreshOptions

MARGIN = timedelta(days=30)  # a calendar wants some sessions
CALENDARS = {"us": "XNYS", "cn": "XSHG"}


def calendar_of(fresh: FreshOptions, market: str) -> str:
    """Return the code of the calendar to ask; ConfigError where neither `fresh` nor the market names one."""
    code = fresh.calendar or CALENDARS.get(market)
    if code is None:
        raise ConfigError(
            f"fresh.calendar: null, and the market {str(market)!r} has none; sessions are counted on a "
            f"calendar. Name one, such as XNYS."
        )
    return code


def is_asked(fresh: FreshOptions) -> bool:
    """Tell whether any threshold asks for the calendar."""
    return fresh.warn_after is not None or fresh.error_after is not None


def check_calendar(fresh: FreshOptions, market: str) -> None:
    """Refuse a calendar that nobody knows, as ConfigError, where `fresh` will ask it."""
    if not is_asked(fresh):
        return
    import exchange_calendars  # a second, for those who ask

    code = calendar_of(fresh, market)
    if code not in exchange_calendars.get_calendar_names():
        raise _unknown(code)


def sessions(code: str, first: date, last: date) -> list[date]:
    """Return the sessions of an exchange between two days, both included.

    Source: the package `exchange_calendars`, whose codes are ISO 10383's.

    Raises
    ------
    ConfigError
        There is no calendar of that code, or it does not reach so far.
    """
    if first > last:
        return []
    days = (session.date() for session in _calendar(code, first, last).sessions)
    return [day for day in days if first <= day <= last]


def late(newest: date, as_of: date, fresh: FreshOptions, market: str) -> str:
    """Return what is to be said of bars that are later than `fresh` warns of; empty if they are not.

    Raises
    ------
    DataError
        They are later than `fresh.error_after`.
    """
    if not is_asked(fresh):
        return ""
    code = calendar_of(fresh, market)
    missing = sessions(code, newest + timedelta(days=1), as_of)
    said = f"stale: newest bar {newest}, as_of {as_of}: {_count(missing)} of {code} missing"
    if fresh.error_after is not None and len(missing) > fresh.error_after:
        raise DataError(
            f"data: {said}; fresh.error_after is {fresh.error_after}. Bring newer bars, or see why they do not come."
        )
    return said if fresh.warn_after is not None and len(missing) > fresh.warn_after else ""


def _count(days: Sequence[date]) -> str:
    return f"{len(days)} session{'s' if len(days) != 1 else ''}"


def _calendar(code: str, first: date, last: date) -> Any:
    import exchange_calendars  # a second, for those who ask

    get = exchange_calendars.get_calendar
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of pandas, about how the package asks it
        try:
            try:
                return get(code, start=str(first - MARGIN), end=str(last))
            except ValueError:  # where the calendar begins
                return get(code, start=str(first), end=str(last))
        except exchange_calendars.errors.InvalidCalendarName:
            raise _unknown(code) from None
        except ValueError as error:
            raise ConfigError(
                f"fresh.calendar: {code} from {first} to {last}: {error}; its sessions must be known. "
                f"Update exchange_calendars, name another one, or leave fresh.warn_after and fresh.error_after null."
            ) from None


def _unknown(code: str) -> ConfigError:
    return ConfigError(
        f"fresh.calendar: {code!r} is no exchange that is known; codes are those of exchange_calendars, such as XNYS. "
        f"Correct it."
    )
