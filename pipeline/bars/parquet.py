"""Tables as Parquet: the same rows give the same bytes, and a damaged page is noticed when it is read."""

from collections.abc import Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.errors import StoreCorruptError


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


def read_parquet(file: str | Path, columns: Sequence[str] | None = None) -> pa.Table:
    """Read `columns` of a file of the store; all of them if None.

    Raises
    ------
    StoreCorruptError
        The file is missing, or a page differs from its checksum.
    """
    try:
        names = None if columns is None else list(columns)
        return pq.read_table(file, columns=names, use_threads=False, page_checksum_verification=True)
    except (OSError, pa.ArrowException) as error:
        raise StoreCorruptError(
            f"{file}: cannot be read ({error}); parts never change after their commit. Rebuild with `ingest --rebuild`."
        ) from error
