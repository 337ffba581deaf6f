"""``amaters config``: every setting, its value and where that came from."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest

from amaters.base import settings
from amaters.cli import main as cli_main


def amaters(*arguments: str) -> int:
    with pytest.raises(SystemExit) as stop:
        cli_main.main(list(arguments))
    return int(str(stop.value.code or 0))


@pytest.fixture
def config_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "config.toml"
    monkeypatch.setenv("AMATERS_CONFIG", str(path))
    return path


def test_what_is_shown_is_a_configuration(
    config_file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """``config show`` prints TOML that gives the same settings when it is the file."""
    assert amaters("config", "show") == 0
    shown = capsys.readouterr().out
    before = settings.load()
    config_file.write_text(shown)
    after = settings.load()
    unset = {name for name in before.sources if getattr(before, name) is None}
    assert tomllib.loads(shown).keys() | unset == before.sources.keys()
    assert all(getattr(after, name) == getattr(before, name) for name in before.sources)


def test_each_value_says_where_it_came_from(
    config_file: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """File, environment and flag are named with what a person would have to edit."""
    config_file.write_text("cache_mib = 77\nthreads = 1\n")
    monkeypatch.setenv("AMATERS_THREADS", "2")
    assert amaters("--keyring", "here", "config", "explain") == 0
    lines = {line.split()[0]: line for line in capsys.readouterr().out.splitlines()}
    assert lines["cache_mib"].endswith(f"77  ({config_file})")
    assert lines["threads"].endswith("2  (AMATERS_THREADS)")
    assert lines["keyring"].endswith('"here"  (given on the command line)')
    assert lines["progress"].endswith("true  (default)")


def test_an_unknown_setting_is_refused(
    config_file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A misspelled name is exit code 2 with the known names."""
    config_file.write_text("cash_mib = 77\n")
    assert amaters("config", "show") == 2
    assert "cache_mib" in capsys.readouterr().err
