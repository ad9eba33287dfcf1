"""Signals + bars -> orders, fills, equity: sequential over sessions, one shared account, compiled.

``loop`` is the stage: it streams the store period by period through ``kernel``, the compiled day loop, whose docstring
says what happens in a session and in which order. ``sizing`` turns a wanted exposure into shares, ``market`` knows lots
and costs, ``benchmark`` is the buy-and-hold account beside it, ``books`` checks the sums, ``compiled`` is how Numba is
asked.
"""
