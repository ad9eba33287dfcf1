"""Watching a run: Dask's own performance report of what ran on a client."""
