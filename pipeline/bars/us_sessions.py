"""The sessions of a made-up US exchange: weekdays without holidays, computed, for any year.

The rules are the NYSE's of today (https://www.nyse.com/markets/hours-calendars), taken to be as old as the law behind
each. Days on which it closed for once (a mourning, a storm) are sessions here.
"""

from datetime import date
from functools import cache

import numpy as np
from pandas.tseries.holiday import (
    AbstractHolidayCalendar,
    GoodFriday,
    Holiday,
    USLaborDay,
    USMartinLutherKingJr,
    USMemorialDay,
    USPresidentsDay,
    USThanksgivingDay,
    nearest_workday,
    sunday_to_monday,
)

LEAST_SESSIONS = 240  # of a year; there are 250 to 253


class _Closed(AbstractHolidayCalendar):
    rules = [  # noqa: RUF012 - pandas wants a list
        Holiday("New Year", month=1, day=1, observance=sunday_to_monday),  # on a Saturday it is not made up for
        USMartinLutherKingJr,
        USPresidentsDay,
        GoodFriday,
        USMemorialDay,
        Holiday("Juneteenth", month=6, day=19, start_date="2022-01-01", observance=nearest_workday),
        Holiday("Independence Day", month=7, day=4, observance=nearest_workday),
        USLaborDay,
        USThanksgivingDay,
        Holiday("Christmas", month=12, day=25, observance=nearest_workday),
    ]


def us_sessions(start: date, count: int) -> np.ndarray:
    """Return `count` sessions (datetime64[D], ascending), the first of them on `start` or next after it."""
    holidays = _holidays(start.year, start.year + count // LEAST_SESSIONS + 1)
    first = np.busday_offset(np.datetime64(start, "D"), 0, roll="forward", holidays=holidays)
    return np.busday_offset(first, np.arange(count), holidays=holidays)


@cache
def _holidays(first: int, last: int) -> np.ndarray:
    return _Closed().holidays(f"{first}-01-01", f"{last}-12-31").to_numpy("datetime64[D]")
