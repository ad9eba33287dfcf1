"""Dask DataFrame -> signals: the sessions on which a strategy changes its opinion.

``source`` carries a strategy's text to wherever it runs, ``params`` reads its options, ``strategy`` puts the two
together. ``contract`` holds it to its word, ``partition`` is what a worker does, and ``build`` maps that over the
partitions and collects the changes.
"""
