"""Numbers of things in what people read: messages, screens, logs and reports."""

from collections.abc import Sequence


def counted(number: int, noun: str) -> str:
    """Return a number of things, the noun in the form that goes with it: one that takes an s.

    >>> counted(1, "bar"), counted(0, "bar"), counted(12590, "stored bar")
    ('1 bar', '0 bars', '12,590 stored bars')
    """
    return f"{number:,} {noun if number == 1 else f'{noun}s'}"


def listed(names: Sequence[str], most: int = 5) -> str:
    """Return the first of some names, and how many more there are.

    >>> listed(["AAPL", "IBM"]), listed(["AAPL", "FB", "IBM"], 2)
    ('AAPL, IBM', 'AAPL, FB and 1 more')
    """
    return ", ".join(names[:most]) + (f" and {len(names) - most:,} more" if len(names) > most else "")


def shortened(text: str, longest: int) -> str:
    r"""Return a text as one line, cut where it is longer than so many characters.

    >>> shortened("strategy 'a'\nraised", 100), shortened("strategy 'a'", 8)
    ("strategy 'a' raised", 'strategy...')
    """
    line = " ".join(text.split())
    return line if len(line) <= longest else f"{line[:longest]}..."
