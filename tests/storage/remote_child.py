"""A process that writes to a database on an object store until it is killed.

arguments: directory, URL, first batch. One line per batch, before and after it.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

from amaters.columns.declare import Int64, build_table
from amaters.columns.records import encode_public
from amaters.storage.directory import open_directory
from amaters.storage.options import StorageOptions
from amaters.storage.rowstore import RowStore
from amaters.wire import service_pb2 as pb

BATCH = 7


def record() -> pb.SchemaRecord:
    """A table of a key and the number of its batch."""
    columns = {"id": Int64(primary_key=True), "batch": Int64()}
    made = build_table(
        "t", columns, parameter_set="insecure_n1024", scheme="noop", key_id=b"k" * 16
    )
    public = encode_public(made.public())
    return pb.SchemaRecord(
        table_id=made.id, name=made.name, version=made.version, public_bytes=public
    )


def main(directory: str, url: str, first: str) -> None:
    options = StorageOptions(objects_url=url, log_on_store=True)
    storage = open_directory(Path(directory), options=options)
    if not storage.tables():
        RowStore.create(storage, record()).close()
    store = RowStore(storage, storage.tables()[0].table_id, segment_rows=64)
    number = int(first)
    while True:
        os.write(1, b"begin %d\n" % number)
        store.put([(BATCH * number + i, number) for i in range(BATCH)])
        os.write(1, b"done %d\n" % number)
        if number % 5 == 0:
            storage.snapshot()
        number += 1


if __name__ == "__main__":
    main(*sys.argv[1:])
