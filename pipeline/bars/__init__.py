"""Files -> clean bars -> store -> Dask DataFrame.

Which files there are, and what is in them: ``inventory`` finds the source files and those that changed, ``content``
reads a file's bytes, ``encodings`` makes UTF-8 of them, ``cells`` cuts that into cells, ``vendors`` declares how
vendors write, ``layouts`` recognises whose layout a header is, ``quality`` says which rows are bars, ``reading`` does
all that for one file, ``refusals`` writes the rest as quarantine.csv.

Without files: ``us_sessions`` is a made-up exchange's calendar, ``simulator`` the market's returns and listings,
``synthetic`` its bars.

From rows to a snapshot: ``ingest`` runs it all, ``intake`` is what one ingest has to go by, ``plan`` lays bars out in
blocks and periods, ``tasks`` says which blocks to build, ``assembly`` makes a symbol's bars and factor, ``parts``
spills files and builds blocks, ``rounds`` runs that on threads, ``holding`` keeps stored bars that files no longer
reach, ``accounts`` says where every row went, ``publish`` commits the snapshot, ``doubts`` tells what the user must see
of it.

The store: ``manifest`` is what a snapshot is, ``sealing`` its checksum, ``parquet`` the bytes of its tables,
``pointer`` says which snapshot is the newest, ``store`` commits, opens and verifies them, ``damage`` is what is said
where they are not as they were. Out of it: ``blocks`` opens a snapshot as a Dask DataFrame, one partition per block,
for signals; ``periods`` reads it session by session for the trading loop.
"""
