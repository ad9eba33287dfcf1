"""Signals + bars -> orders, fills, equity: sequential over sessions, one shared account, compiled.

``loop`` is the stage: it streams the store period by period through ``kernel``, the compiled day loop, whose docstring
says what happens in a session and in which order. Parts of it are ``execution``, where orders trade, ``stops``, what
happens inside a bar, and ``corporate``, splits, dividends and delisting; ``booking`` moves the money, ``state`` has the
arrays all work on. ``changes`` checks what the strategy wants, ``actions`` what companies did, ``sizing`` turns wishes
into shares, ``ranges`` knows how much prices move, ``market`` lots and costs; ``rules`` is the config as the loop takes
it. ``ledger`` makes tables of what happened, ``books`` checks the sums, ``benchmark`` is the buy-and-hold account
beside it, and ``compiled`` is how Numba is asked.
"""
