"""Tables as Parquet: the same rows give the same bytes, and a damaged page is noticed when it is read."""

import hashlib
from collections.abc import Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.bars.damage import PART, REBUILD
from pipeline.errors import PipelineError, StoreCorruptError
from pipeline.files import refusal


def parquet_bytes(table: pa.Table) -> pa.Buffer:
    """Return `table` as Parquet: one row group, lz4, page checksums, no metadata but the schema's own."""
    sink = pa.BufferOutputStream()
    pq.write_table(
        table.replace_schema_metadata(None),
        sink,
        row_group_size=max(len(table), 1),
        use_dictionary=["symbol"],
        compression="lz4",
        write_page_checksum=True,
    )
    return sink.getvalue()


def read_parquet(file: str | Path, columns: Sequence[str] | None = None, sha256: str | None = None) -> pa.Table:
    """Read `columns` of a file of the store; all of them if None.

    A third quicker than `pyarrow.parquet.read_table`, which asks Arrow's datasets, and imports them.

    Parameters
    ----------
    file : str or Path
        What to read.
    columns : sequence of str, optional
        Which columns.
    sha256 : str, optional
        Of the file, as its manifest has it: what new bars are made from must be what was stored, byte for byte.

    Raises
    ------
    StoreCorruptError
        The file is missing, lacks a column, a page differs from its checksum, or the whole from its `sha256`.
    DataError, TemporaryError
        Nobody may read it, or the disk fails: it may be as good as ever.
    """
    try:
        source = file if sha256 is None else pa.BufferReader(checked_bytes(file, sha256))
        with pq.ParquetFile(source, page_checksum_verification=True) as stored:
            table = stored.read(None if columns is None else list(columns), use_threads=False)
            return table if columns is None else table.select(columns)  # in their order; KeyError for one that is not
    except (OSError, KeyError, pa.ArrowException) as error:
        raise _unusable(file, error) from error


def checked_bytes(file: str | Path, sha256: str) -> bytes:
    """Return the bytes of a file of the store; StoreCorruptError where it is missing or differs from its `sha256`."""
    try:
        content = Path(file).read_bytes()
    except OSError as error:
        raise _unusable(file, error) from error
    if hashlib.sha256(content).hexdigest() != sha256:
        raise _unusable(file, "it differs from its sha256")
    return content


def _unusable(file: str | Path, why: object) -> PipelineError:
    refused = refusal(why, file) if isinstance(why, OSError) else None
    return refused or StoreCorruptError(f"{file}: cannot be read ({why}); {PART}. {REBUILD}")
