"""Settings: order of precedence, origin of each value, and refusal of what is not known."""

from __future__ import annotations

from pathlib import Path

import pytest

from amaters.base import errors, settings


def test_later_sources_win_and_are_named(tmp_path: Path) -> None:
    """Defaults < file < environment < call, and each value says where it came from."""
    config = tmp_path / "c.toml"
    config.write_text("threads = 3\ncache_mib = 7\n")
    env = {"AMATERS_CONFIG": str(config), "AMATERS_CACHE_MIB": "9", "HOME": str(tmp_path)}
    found = settings.load(env, keyring=str(tmp_path / "k"))
    assert (found.threads, found.cache_mib, found.keyring) == (3, 9, tmp_path / "k")
    assert dict(found.sources) == {
        "threads": "file", "cache_mib": "environment", "keyring": "call", "progress": "default",
        **dict.fromkeys(
            ("log_backend", "log_batch_size", "log_channel_capacity", "log_ring_size",
             "log_direct_io", "log_url", "objects_url", "object_cache_mib"), "default"
        ),
    }  # fmt: skip


@pytest.mark.parametrize(
    "env",
    [{"AMATERS_THREDS": "2"}, {"AMATERS_THREADS": "two"}, {"AMATERS_THREADS": "0"},
     {"AMATERS_PROGRESS": "maybe"}, {"AMATERS_LOG_BACKEND": "tape"}],
)  # fmt: skip
def test_mistakes_are_errors(env: dict[str, str], tmp_path: Path) -> None:
    """A misspelled or malformed setting is refused, not ignored."""
    with pytest.raises(errors.UsageError, match="AM-1002"):
        settings.load({**env, "HOME": str(tmp_path)})


def test_a_broken_file_is_an_error(tmp_path: Path) -> None:
    """A TOML file that does not parse is refused with its name."""
    config = tmp_path / "c.toml"
    config.write_text("threads = ")
    with pytest.raises(errors.UsageError, match=r"c\.toml"):
        settings.load({"AMATERS_CONFIG": str(config), "HOME": str(tmp_path)})
