"""One hash for what came out of a run."""

import hashlib
import struct

import numpy as np
import pandas as pd


def result_digest(fills: pd.DataFrame, equity: pd.DataFrame) -> str:
    """Return the sha256 of what happened: every fill and the equity of every session, bit for bit.

    The bytes are ours, not pandas' or Parquet's: little-endian float64, int64 (times as microseconds) and utf-8 text,
    each column behind its name and length. So neither categorical codes nor units nor the index play a part.
    """
    digest = hashlib.sha256()
    for table in (fills, equity):
        digest.update(struct.pack("<qq", len(table), len(table.columns)))
        for name, column in table.items():
            digest.update(_text([str(name)]))
            digest.update(_bytes(column))
    return digest.hexdigest()


def _bytes(column: pd.Series) -> bytes:
    if pd.api.types.is_datetime64_dtype(column.dtype):
        return column.to_numpy("datetime64[us]").astype("<i8").tobytes()
    if pd.api.types.is_integer_dtype(column.dtype):
        return column.to_numpy("<i8").tobytes()
    if pd.api.types.is_float_dtype(column.dtype):
        return column.to_numpy("<f8").tobytes()
    return _text([str(value) for value in column])


def _text(values: list[str]) -> bytes:
    encoded = [value.encode() for value in values]
    return np.array([len(value) for value in encoded], "<i8").tobytes() + b"".join(encoded)
