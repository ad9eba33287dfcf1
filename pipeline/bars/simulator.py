"""A made-up stock market: what moves all its symbols, and what each of them is.

Everything is drawn from the seed: what moves all symbols from it alone, what befalls one symbol from it and the
symbol's number. So a symbol is the same in a market of any size, and its draws on a session are the same in a market
of any length. (On one version of NumPy: another may draw otherwise, NEP 19.)

The returns are made to have the stylised facts of R. Cont, "Empirical properties of asset returns: stylized facts and
statistical issues", Quantitative Finance 1 (2001), 223-236: heavy tails, also within a regime; no correlation of a
return with the one before; a correlation of its size with earlier sizes that fades over months; volume that goes with
size. The figures are near those of 252 shares of the S&P 500 from 2011 to 2021.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from enum import IntEnum
from functools import lru_cache

import numpy as np

from pipeline.bars.us_sessions import us_sessions
from pipeline.modes import Frequency

# The market: calm, usual and turbulent times (Hamilton & Susmel, "Autoregressive conditional heteroskedasticity and
# changes in regime", Journal of Econometrics 64 (1994), 307-333).
VOLATILITY = np.array([0.006, 0.010, 0.024])  # standard deviation of the market's log return per session
DRIFT = np.array([0.0006, 0.0004, -0.0010])  # mean of the same; over the years about 9 % a year
LENGTHS = (120, 60, 40)  # sessions, the means
FOLLOWERS = ((1,), (0, 0, 0, 2, 2), (1,))  # which one may come next, each entry as likely as the other
USUAL = 1
SECTORS = 11  # as many as GICS has
SECTOR_VOLATILITY = 0.006  # per session, in usual times

# A symbol: quiet times and times in the news. Its own volatility also goes with the market's (Herskovic, Kelly, Lustig
# & Van Nieuwerburgh, "The common factor in idiosyncratic volatility", Journal of Financial Economics 119 (2016)).
OWN_LEVEL = np.array([0.7, 1.8])  # times the symbol's volatility
OWN_LENGTHS = (80, 30)  # sessions, the means
OWN_FOLLOWERS = ((1,), (0,))

OVERNIGHT = 1 / 3  # of a return's variance
TAIL = 4.0  # degrees of freedom of Student's t of a symbol's own returns; Cont finds tail indices from 2 to 5 ...
SHARED_TAIL = 6.0  # ... and of what is shared, which moves many at once

QUARTER = 63  # sessions
PAYING = 0.7  # fraction of symbols that pay dividends
DOUBLING = 0.7  # fraction of symbols that split 2:1, the others 3:2
FAILING = 0.5  # fraction of delistings that are failures
LATE = 0.2  # fraction of symbols listed after the first session
LATEST = 0.9  # fraction of the market's sessions within which they are
DELISTED_AFTER = 8_000  # sessions, the mean; about 3 % of the symbols in a year
LEAST_LISTED = 20  # sessions
SUSPENDED_AFTER = 1_250  # sessions, the mean between two suspensions
SUSPENDED_FOR = 8  # sessions, the mean
DECLINE = 250  # sessions over which a failing symbol falls ...
DECLINE_RATE = 0.006  # ... by so much each, as a log return


@dataclass(frozen=True)
class Market:
    """What a made-up market is made from."""

    symbols: int
    sessions: int
    seed: int
    start: date  # the first session is on it, or next after it
    frequency: Frequency = Frequency.DAILY


@dataclass(frozen=True)
class Factors:
    """What moves all symbols; arrays of one entry per session."""

    days: np.ndarray  # datetime64[D]
    regime: np.ndarray  # index into VOLATILITY
    turbulence: np.ndarray  # the regime's volatility over that of the usual one
    market: np.ndarray  # log return
    sectors: np.ndarray  # log returns, (sessions, SECTORS)


@dataclass(frozen=True)
class Listing:
    """What a symbol is; sessions are counted from the market's first, 0."""

    number: int
    symbol: str
    sector: int
    beta: float  # log return per log return of the market
    volatility: float  # its own, per session
    price: float  # currency, before its first session
    volume: float  # shares in a quiet session
    dividend: float  # per quarter, as a fraction of the price; 0 for none
    ex_session: int  # the first one, and every 63rd after it
    split: float  # shares after / before, when its price has grown too high
    listed: int  # its first session
    delisted: int  # its last session; most outlive the market
    fails: bool  # what delists it: failure, or else a takeover


class _Stream(IntEnum):
    """What is drawn apart, so that one thing more drawn here moves nothing there."""

    MARKET = 0
    TRAITS = 1
    SUSPENSIONS = 2
    REGIMES = 3
    RETURNS = 4
    NIGHTS = 5
    RANGES = 6
    MINUTES = 7
    THIN = 8


def symbol_of(number: int) -> str:
    """Return the symbol of a number; symbols ascend with their numbers up to 99,999."""
    return f"SIM{number:05d}"


@lru_cache(maxsize=4)
def factors(market: Market) -> Factors:
    """Return what moves all symbols of a market."""
    regime = _regimes(_rng(market, _Stream.MARKET, 0), LENGTHS, FOLLOWERS, market.sessions, USUAL)
    shocks = _student(_rng(market, _Stream.MARKET, 1), (market.sessions, 1 + SECTORS), SHARED_TAIL)
    turbulence = VOLATILITY[regime] / VOLATILITY[USUAL]
    return Factors(
        days=us_sessions(market.start, market.sessions),
        regime=regime,
        turbulence=turbulence,
        market=DRIFT[regime] + VOLATILITY[regime] * shocks[:, 0],
        sectors=SECTOR_VOLATILITY * turbulence[:, np.newaxis] * shocks[:, 1:],
    )


def listing_of(market: Market, number: int) -> Listing:
    """Return what the symbol of a number is.

    The market's length decides nothing but the session it is listed on, and that only for the fifth of the symbols
    that come late: at a fraction of the length, so that a market of any length has every one of its symbols.
    """
    rng = _rng(market, _Stream.TRAITS, number)
    late, pays, doubles, fails = (rng.random(4) < (LATE, PAYING, DOUBLING, FAILING)).tolist()
    listed = int(rng.random() * LATEST * market.sessions) * late
    spread = rng.standard_normal(5)
    return Listing(
        number=number,
        symbol=symbol_of(number),
        sector=int(rng.integers(SECTORS)),
        beta=float(np.clip(1 + 0.3 * spread[0], 0.3, 1.7)),
        volatility=float(0.012 * np.exp(0.25 * spread[1])),
        price=float(np.clip(40 * np.exp(0.7 * spread[2]), 8, 120)),
        volume=float(1_000_000 * np.exp(1.2 * spread[3])),
        dividend=float(np.clip(0.005 * np.exp(0.5 * spread[4]), 0.001, 0.015)) if pays else 0.0,
        ex_session=int(rng.integers(QUARTER)),
        split=2.0 if doubles else 1.5,
        listed=listed,
        delisted=listed + LEAST_LISTED + int(rng.exponential(DELISTED_AFTER)),
        fails=fails,
    )


def traded_sessions(market: Market, listing: Listing) -> np.ndarray:
    """Return the sessions on which a symbol has a bar, at least one: those it is listed on, but for suspensions."""
    rng = _rng(market, _Stream.SUSPENSIONS, listing.number)
    traded = np.zeros(market.sessions, bool)
    traded[listing.listed : listing.delisted + 1] = True
    first = int(rng.exponential(SUSPENDED_AFTER))
    while first < market.sessions:
        length = 1 + int(rng.exponential(SUSPENDED_FOR))
        traded[first : first + length] = False
        first += length + int(rng.exponential(SUSPENDED_AFTER))
    traded[listing.listed] = True
    return np.flatnonzero(traded)


def returns_of(market: Market, listing: Listing) -> tuple[np.ndarray, np.ndarray]:
    """Return a symbol's total log returns and their standard deviations, on every session, (sessions,) each.

    They are those of the market and of its sector, and its own: Student's t of unit variance times a volatility that
    goes with its own regime and with the market's. A symbol that fails falls before its end, so that leaving it out
    flatters (Shumway, "The delisting bias in CRSP data", Journal of Finance 52 (1997), 327-340).
    """
    shared = factors(market)
    chance = _rng(market, _Stream.REGIMES, listing.number)
    regime = _regimes(chance, OWN_LENGTHS, OWN_FOLLOWERS, market.sessions, 0)
    shocks = _student(_rng(market, _Stream.RETURNS, listing.number), market.sessions, TAIL)
    own = listing.volatility * OWN_LEVEL[regime] * np.sqrt(shared.turbulence)
    returns = listing.beta * shared.market + shared.sectors[:, listing.sector] + own * shocks - own**2 / 2
    if listing.fails:
        returns[max(listing.delisted + 1 - DECLINE, 0) : listing.delisted + 1] -= DECLINE_RATE
    variance = (listing.beta * VOLATILITY[shared.regime]) ** 2 + (SECTOR_VOLATILITY * shared.turbulence) ** 2 + own**2
    return returns, np.sqrt(variance)


def noise_of(market: Market, listing: Listing) -> tuple[np.ndarray, np.ndarray]:
    """Return what happens within a symbol's sessions: standard normal and exponential draws, (sessions, 2) each."""
    shape = (market.sessions, 2)
    normal = _rng(market, _Stream.NIGHTS, listing.number).standard_normal(shape)
    return normal, _rng(market, _Stream.RANGES, listing.number).standard_exponential(shape)


def minute_noise_of(market: Market, listing: Listing, minutes: int) -> tuple[np.ndarray, np.ndarray]:
    """Return what happens within a symbol's minutes: standard normal draws, (sessions, minutes, 2), and exponential."""
    rng = _rng(market, _Stream.MINUTES, listing.number)
    normal = rng.standard_normal((market.sessions, minutes, 2), np.float32)
    rng = _rng(market, _Stream.MINUTES, listing.number, 1)
    return normal, rng.standard_exponential((market.sessions, minutes, 2), np.float32)


def traded_minutes(market: Market, listing: Listing, chance: np.ndarray) -> np.ndarray:
    """Return in which minutes of each session a symbol trades, given the chance of each minute, (sessions, minutes)."""
    rng = _rng(market, _Stream.THIN, listing.number)
    return rng.random((market.sessions, len(chance)), np.float32) < chance


def _rng(market: Market, stream: _Stream, *numbers: int) -> np.random.Generator:
    return np.random.default_rng(np.random.SeedSequence(market.seed, spawn_key=(stream, *numbers)))


def _student(rng: np.random.Generator, shape: int | tuple[int, int], freedom: float) -> np.ndarray:
    """Return draws of Student's t, scaled to a variance of 1."""
    return rng.standard_t(freedom, shape) * np.sqrt((freedom - 2) / freedom)


def _regimes(
    rng: np.random.Generator, lengths: Sequence[int], followers: Sequence[Sequence[int]], sessions: int, state: int
) -> np.ndarray:
    """Return the states of a Markov chain that begins in `state`, drawn stay by stay, (sessions,)."""
    states = np.empty(sessions, np.int64)
    first = 0
    while first < sessions:
        length = int(rng.geometric(1 / lengths[state]))
        states[first : first + length] = state
        first += length
        state = followers[state][int(rng.integers(len(followers[state])))]
    return states
