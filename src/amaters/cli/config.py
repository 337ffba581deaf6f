"""``amaters config``: the settings in force, and why they are what they are."""

from __future__ import annotations

import os

import click

from amaters.base import settings
from amaters.cli.context import Context


@click.group()
def config() -> None:
    """Show the settings in force."""


@config.command()
@click.pass_obj
def show(context: Context) -> None:
    """One line per setting: name = value, as the TOML file would have it."""
    found = context.settings
    for name in found.sources:
        value = getattr(found, name)
        if value is not None:
            click.echo(f"{name} = {_toml(value)}")


@config.command()
@click.pass_obj
def explain(context: Context) -> None:
    """Each setting with the place it came from, and how to change it."""
    found = context.settings
    width = max(len(name) for name in found.sources)
    path = settings.config_path(os.environ)
    origins = {
        "default": "default",
        "file": f"{path}",
        "environment": "{}",
        "call": "given on the command line",
    }
    for name, source in found.sources.items():
        origin = origins[source].format(settings.PREFIX + name.upper())
        click.echo(f"{name:<{width}}  {_toml(getattr(found, name))}  ({origin})")
    there = "read" if path.is_file() else "not there"
    click.echo(f"later wins: default, {path} ({there}), {settings.PREFIX}NAME, flag or call")


def _toml(value: object) -> str:
    if value is None:
        return "not set"
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value) if isinstance(value, int) else f'"{value}"'
