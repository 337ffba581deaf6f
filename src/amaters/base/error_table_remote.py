"""Rows 4025 to 4039 of the error table: object stores, the log on them, and who owns it."""

from __future__ import annotations

from amaters.base import errors as e

ROWS: tuple[tuple[str, type[e.AmatersError], str, str, dict[str, str]], ...] = (
    (
        "AM-4025",
        e.UnavailableError,
        "object store: {what}",
        "check the network and the store, then try again",
        {"retry": "backoff", "dbapi": "OperationalError"},
    ),
    (
        "AM-4026",
        e.UnavailableError,
        "whether this write is in the log on the object store is unknown: {what}",
        "open the database again and repeat the request under the same request id",
        {"retry": "reconnect", "dbapi": "OperationalError"},
    ),
    (
        "AM-4027",
        e.UnavailableError,
        "the log on the object store does not reach from position {position}: {what}",
        "open the database again: a newer snapshot replaces what is missing",
        {"retry": "reconnect", "dbapi": "OperationalError"},
    ),
    (
        "AM-4028",
        e.InvalidError,
        "{url} cannot be used as an object store: {what}",
        "use s3://bucket/prefix, gs://bucket/prefix, az://account/container/prefix or file:///path",
        {"dbapi": "OperationalError"},
    ),
    (
        "AM-4029",
        e.InvalidError,
        "the object store {url} overwrites objects that must only be created",
        "use a store that honours If-None-Match: two writers would destroy each other's log here",
        {"dbapi": "OperationalError"},
    ),
    (
        "AM-4030",
        e.ConflictError,
        "the object store {url} holds database {found}, this directory is of database {expected}",
        "use an empty directory, or the store that belongs to this one",
        {"dbapi": "OperationalError"},
    ),
    (
        "AM-4031",
        e.DeniedError,
        "the object store denies access: {what}",
        "check the credentials and the rights on the bucket",
        {"dbapi": "OperationalError"},
    ),
)
