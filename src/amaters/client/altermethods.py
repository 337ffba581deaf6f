"""ALTER TABLE as methods of a table."""

from __future__ import annotations

from typing import Protocol

from amaters.client.alter import alter_table
from amaters.client.session import Session
from amaters.columns import altering as al
from amaters.columns.declare import Declaration
from amaters.plan.expressions import AlterTable


class _Named(Protocol):
    name: str
    _session: Session


class Altering:
    """What changes a table's columns. A call that was interrupted goes on when it is repeated; see
    ``Database.resume``. Each returns what happened, in words.
    """

    async def add_column(
        self: _Named,
        name: str,
        declaration: Declaration,
        *,
        if_not_exists: bool = False,
    ) -> str:
        """Add a column, declared as in ``create_table``; rows that are there hold its
        ``default``, or NULL.

        Raises: InvalidError AM-2021, AM-2061, AM-2063.
        """
        return await _alter(self, al.AddColumn(name, declaration, if_not_exists))

    async def drop_column(self: _Named, name: str, *, if_exists: bool = False) -> str:
        """Drop a column. Its values stay in stored rows until VACUUM ERASE. Raises: AM-2062."""
        return await _alter(self, al.DropColumn(name, if_exists))

    async def rename_column(self: _Named, name: str, new_name: str) -> str:
        """Call a column something else."""
        return await _alter(self, al.RenameColumn(name, new_name))

    async def rename(self: _Named, new_name: str) -> str:
        """Call the table something else; this object goes with it. Raises: AM-3020."""
        told = await _alter(self, al.RenameTable(new_name))
        self.name = new_name
        return told

    async def add_query(self: _Named, column: str, *queries: str) -> str:
        """Let an encrypted column be asked for eq, range, sum, group or prefix(n) as well. Its rows
        are encrypted again on this client. Raises: AM-2024, AM-2025, AM-2028, AM-2062.
        """
        return await _alter(self, al.AddQueries(column, queries))

    async def drop_query(self: _Named, column: str, *queries: str) -> str:
        """Let a column be asked this no more; also takes back an ``add_query`` on its way."""
        return await _alter(self, al.DropQueries(column, queries))

    async def widen(
        self: _Named,
        column: str,
        *,
        min: object = None,  # noqa: A002 - as in the declaration
        max: object = None,  # noqa: A002
        values: tuple[object, ...] | list[object] = (),
    ) -> str:
        """Move a column's bounds further apart, or add categories. Raises: AM-2062."""
        actions: list[al.Action] = []
        if min is not None or max is not None:
            actions.append(al.Widen(column, min, max))
        if values:
            actions.append(al.AddValues(column, tuple(values)))
        return await _alter(self, *actions)

    async def set_nullable(self: _Named, column: str, *, nullable: bool) -> str:
        """Whether a column holds NULL. Raises: InvalidError AM-2063 when some row does."""
        return await _alter(self, al.SetNullable(column, nullable))


async def _alter(table: _Named, *actions: al.Action) -> str:
    return await alter_table(table._session.measured(), AlterTable(table.name, actions))
