"""What a person may configure: defaults < TOML file < ``AMATERS_*`` environment < call or flag.

Every value remembers where it came from, so that "why is it doing this" has an answer. An unknown
key is an error, because a misspelled setting that is silently ignored is worse than none.
"""

from __future__ import annotations

import os
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from pathlib import Path
from types import MappingProxyType
from typing import Literal, get_args

from amaters.base import errors

PREFIX = "AMATERS_"
# In the environment, but no settings: where these are, and a secret that is never shown.
NO_SETTINGS = ("config", "passphrase")
LogBackend = Literal["direct", "io_uring", "buffered", "object"]
LOG_BACKENDS: tuple[LogBackend, ...] = get_args(LogBackend)
MIB = 1 << 20


@dataclass(frozen=True, slots=True)
class Settings:
    """The settings in force; ``sources`` says for each name: default, file, environment or call.

    ``log_backend``: how a database in a directory writes its log; ``object`` puts log and snapshots
    on an object store. ``objects_url``: the store of a new database's objects (empty: in its
    directory), ``log_url``: of its log, when that is another. ``cache_mib`` is memory for
    ciphertexts, ``object_cache_mib`` disk for objects of a store.
    """

    keyring: Path
    threads: int
    cache_mib: int
    progress: bool
    log_backend: LogBackend
    log_batch_size: int
    log_channel_capacity: int
    log_ring_size: int
    log_direct_io: bool
    log_url: str
    objects_url: str
    object_cache_mib: int
    sources: Mapping[str, str]

    @property
    def cache_bytes(self) -> int:
        return self.cache_mib * MIB


def data_home(environment: Mapping[str, str]) -> Path:
    """The user's data directory (XDG), where keyrings live; never inside a database."""
    base = environment.get("XDG_DATA_HOME")
    return Path(base) if base else Path(environment.get("HOME", "~")).expanduser() / ".local/share"


def cache_home(environment: Mapping[str, str]) -> Path:
    """The user's cache directory (XDG): what may be deleted at any time."""
    base = environment.get("XDG_CACHE_HOME")
    return Path(base) if base else Path(environment.get("HOME", "~")).expanduser() / ".cache"


def config_path(environment: Mapping[str, str]) -> Path:
    """The TOML file that is read when it exists."""
    named = environment.get(PREFIX + "CONFIG")
    if named:
        return Path(named)
    base = environment.get("XDG_CONFIG_HOME")
    home = Path(base) if base else Path(environment.get("HOME", "~")).expanduser() / ".config"
    return home / "amaters" / "config.toml"


def passphrase(environment: Mapping[str, str] | None = None) -> str | None:
    """``AMATERS_PASSPHRASE``: what opens locked keysets at the command line."""
    env = os.environ if environment is None else environment
    return env.get(PREFIX + "PASSPHRASE") or None


def cores() -> int:
    """How many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def load(environment: Mapping[str, str] | None = None, **overrides: object) -> Settings:
    """The settings in force. ``overrides`` that are None do not count.

    Raises: UsageError AM-1002 for an unknown key or a value of the wrong form.
    """
    env = os.environ if environment is None else environment
    settings = Settings(
        keyring=data_home(env) / "amaters" / "keyring",
        threads=cores(),
        cache_mib=1024,
        progress=True,
        log_backend="direct",
        log_batch_size=1024,
        log_channel_capacity=4096,
        log_ring_size=8,
        log_direct_io=True,
        log_url="",
        objects_url="",
        object_cache_mib=4096,
        sources=MappingProxyType(dict.fromkeys(_names(), "default")),
    )
    settings = _apply(settings, _from_file(config_path(env)), "file")
    settings = _apply(settings, _from_environment(env), "environment")
    given = {name: value for name, value in overrides.items() if value is not None}
    return _apply(settings, given, "call")


def _names() -> tuple[str, ...]:
    return tuple(field.name for field in fields(Settings) if field.name != "sources")


def _from_file(path: Path) -> dict[str, object]:
    if not path.is_file():
        return {}
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        errors.fail("AM-1002", name=str(path), what=str(error))


def _from_environment(env: Mapping[str, str]) -> dict[str, object]:
    found = {}
    for key, value in env.items():
        name = key.removeprefix(PREFIX).lower()
        if key.startswith(PREFIX) and name not in NO_SETTINGS and value:
            found[name] = value
    return dict(found)


def _apply(settings: Settings, values: Mapping[str, object], source: str) -> Settings:
    known = _names()
    for name in values:
        if name not in known:
            what = f"there is no such setting; known: {', '.join(known)}"
            errors.fail("AM-1002", name=f"{name} ({source})", what=what)
    parsed = {name: _parse(name, value) for name, value in values.items()}
    sources = MappingProxyType({**settings.sources, **dict.fromkeys(parsed, source)})
    return replace(settings, **parsed, sources=sources)  # type: ignore[arg-type]


def _parse(name: str, value: object) -> object:
    if name == "keyring":
        return Path(str(value)).expanduser()
    if name in ("objects_url", "log_url"):
        return str(value)
    if name in ("progress", "log_direct_io"):
        return _boolean(name, value)
    if name == "log_backend":
        return _one_of(name, value, LOG_BACKENDS)
    try:
        number = int(str(value))
    except ValueError:
        errors.fail("AM-1002", name=name, what="it must be a whole number")
    if number < 1:
        errors.fail("AM-1002", name=name, what="it must be at least 1")
    return number


def _one_of(name: str, value: object, words: tuple[str, ...]) -> str:
    if value not in words:
        errors.fail("AM-1002", name=name, what=f"it must be one of {', '.join(words)}")
    return str(value)


def _boolean(name: str, value: object) -> bool:
    words = {"1": True, "true": True, "yes": True, "0": False, "false": False, "no": False}
    word = str(value).lower()
    if word not in words:
        errors.fail("AM-1002", name=name, what="it must be true or false")
    return words[word]
