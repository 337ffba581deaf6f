"""Rows 1120 to 1139 and 3120 to 3129 of the error table: protection and rotation of keysets."""

from __future__ import annotations

from amaters.base import errors as e

ROWS: tuple[tuple[str, type[e.AmatersError], str, str, dict[str, str]], ...] = (
    (
        "AM-1120",
        e.UnavailableError,
        "the keyring of the operating system needs package keyring, which is not installed",
        "pip install 'amaters[keyring]', or protect the keyset by a passphrase",
        {"dbapi": "NotSupportedError"},
    ),
    (
        "AM-1121",
        e.UnavailableError,
        "the keyring of the operating system is not available: {what}",
        "start or unlock it (GNOME Keyring, KWallet, macOS Keychain), or use a passphrase",
        {"dbapi": "OperationalError"},
    ),
    (
        "AM-1122",
        e.DeniedError,
        "keyset {path} does not open: the keyring of the operating system has {what}",
        "open it as the user, on the machine, that protected it, or import a copy of the keyset",
        {"dbapi": "OperationalError"},
    ),
    (
        "AM-1123",
        e.DeniedError,
        "{database} is being rotated to keyset {key_id}, which is not in {keyring}",
        "import a copy of it from where the rotation was begun; if it is lost and no table has "
        "changed over yet: `amaters keys rotate DATABASE --abandon`",
        {"dbapi": "OperationalError"},
    ),
    (
        "AM-1124",
        e.DeniedError,
        "keyset {key_id} was not made to replace keyset {old}, whatever the engine says",
        "use the keyring in which the rotation was begun; the engine is faulty or hostile",
        {"dbapi": "OperationalError"},
    ),
    (
        "AM-1125",
        e.ConflictError,
        "the tail of table {table} changed during all of {attempts} attempts to change its keys",
        "run `amaters keys rotate` again, while less is written: what was done stays",
        {"dbapi": "OperationalError"},
    ),
    (
        "AM-1126",
        e.InvalidError,
        "this is too deep for table {table}, whose ciphertexts have changed keys {count} times",
        "encrypt its rows anew: `amaters admin compact DATABASE --fresh`, or compact(fresh=True)",
        {},
    ),
    (
        "AM-3120",
        e.ConflictError,
        "this database is being rotated to keyset {theirs} already",
        "finish that first with the keyring that has that keyset, or give it up: --abandon",
        {"dbapi": "OperationalError"},
    ),
    (
        "AM-3121",
        e.ConflictError,
        "{count} segments of table {table} are not ready for another key",
        "go on with the rotation: what is ready stays",
        {"retry": "same", "dbapi": "OperationalError"},
    ),
    (
        "AM-3122",
        e.InvalidError,
        "ciphertexts of table {table} have changed keys {count} times, more noise is not allowed",
        "encrypt its rows anew: `amaters admin compact DATABASE --fresh`; then rotate",
        {"dbapi": "NotSupportedError"},
    ),
    (
        "AM-3123",
        e.ConflictError,
        "rows came to the tail of a table while its keys changed",
        "repeat it with the tail as it is then",
        {"retry": "same", "dbapi": "OperationalError"},
    ),
)
