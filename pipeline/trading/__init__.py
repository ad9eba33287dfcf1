"""Signals + bars -> orders, fills, equity: sequential over sessions, one shared account, compiled.

``loop`` is the stage: it streams the store period by period through ``kernel``, the compiled day loop, whose docstring
says what happens in a session and in which order; ``execution`` is the part of it where orders trade, ``state`` the
arrays both work on. ``changes`` checks what the strategy wants, ``sizing`` turns it into shares, ``market`` knows lots
and costs. ``ledger`` makes tables of what happened, ``books`` checks the sums, ``benchmark`` is the buy-and-hold
account beside it, and ``compiled`` is how Numba is asked.
"""
