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
)
