"""Files -> clean bars -> store -> Dask DataFrame.

``ingest`` reads a vendor's files (``vendors``, ``layouts``), refuses what is not provably good (``quality``), lays the
bars out in blocks and periods (``plan``) and commits a snapshot (``store``). ``blocks`` opens a snapshot as a Dask
DataFrame, one partition per block; ``periods`` reads it session-wise for the trading loop.
"""
