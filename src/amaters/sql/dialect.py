"""The SQL that AmateRS reads: DuckDB's grammar plus ``ENCRYPTED [WITH (...)]`` on columns.

Nothing that sqlglot cannot read becomes an opaque command here: it is refused where it stands.
"""

from __future__ import annotations

from typing import Any, ClassVar, NoReturn

from sqlglot import exp
from sqlglot.dialects.duckdb import DuckDB
from sqlglot.parsers.duckdb import DuckDBParser
from sqlglot.tokenizer_core import Token, TokenType

from amaters.base.errors import fail
from amaters.sql.altergrammar import parse_alter, parse_vacuum

SUPPORTED = (
    "the statements are: CREATE TABLE, ALTER TABLE, DROP TABLE, VACUUM, CREATE INDEX, "
    "DROP INDEX, INSERT, COPY ... FROM, SELECT and EXPLAIN SELECT"
)


class Encrypted(exp.Expression, exp.ColumnConstraintKind):
    """``ENCRYPTED [WITH (QUERIES = 'eq', MIN = 0, ...)]``; ``expressions`` are ``exp.Property``."""

    arg_types: ClassVar = {"expressions": False}


class Generated(exp.Expression, exp.ColumnConstraintKind):
    """``GENERATED ALWAYS AS (this) [STORED]``; ``virtual``: VIRTUAL was written."""

    arg_types: ClassVar = {"this": True, "virtual": False}


def place(line: int, col: int) -> str:
    """How messages name a position in the text; both count from 1."""
    return f"line {line}, column {col}"


def token_place(token: Token | None) -> str:
    """The position where ``token`` starts."""
    if token is None:
        return place(1, 1)
    return place(token.line, max(token.col - len(token.text) + 1, 1))


def _placeholder(parser: Any) -> exp.Placeholder:
    """``?``, remembering where it stands: parameters are counted in the order of the text."""
    node: exp.Placeholder = parser.expression(exp.Placeholder())
    token = parser._prev
    node.update_positions(token)
    return node


def _named(parser: Any) -> exp.Placeholder | None:
    if not parser._match_set(parser.COLON_PLACEHOLDER_TOKENS):
        return None
    node: exp.Placeholder = parser.expression(exp.Placeholder(this=parser._prev.text))
    node.update_positions(parser._prev)
    return node


def _encrypted(parser: Any) -> Encrypted:
    properties = []
    if parser._match(TokenType.WITH):
        properties = parser._parse_wrapped_csv(lambda: _declaration(parser))
    node: Encrypted = parser.expression(Encrypted(expressions=properties))
    return node


def _generated(parser: Any) -> Generated:
    if not (parser._match_text_seq("ALWAYS") and parser._match(TokenType.ALIAS)):
        parser.raise_error("expected GENERATED ALWAYS AS (expression) STORED")
    inner = parser._parse_wrapped(parser._parse_assignment)
    is_virtual = bool(parser._match_text_seq("VIRTUAL"))
    if not is_virtual:
        parser._match_text_seq("STORED")
    node: Generated = parser.expression(Generated(this=inner, virtual=is_virtual))
    return node


def _declaration(parser: Any) -> exp.Property:
    name = parser._parse_var(any_token=True)
    token = parser._prev
    if not parser._match(TokenType.EQ):
        parser.raise_error("expected NAME = value")
    value = parser._parse_unary()
    if name is None or value is None:
        parser.raise_error("expected NAME = value")
    node: exp.Property = parser.expression(exp.Property(this=name, value=value))
    node.update_positions(token)
    return node


class AmateRS(DuckDB):
    """DuckDB's dialect with the additions above."""

    class Tokenizer(DuckDB.Tokenizer):
        """Nothing is swallowed as an opaque command: ``sql.parser`` reads EXPLAIN."""

        KEYWORDS: ClassVar = {
            name: kind
            for name, kind in DuckDB.Tokenizer.KEYWORDS.items()
            if name not in ("EXPLAIN", "VACUUM")
        }
        HEX_STRINGS: ClassVar = [("x'", "'"), ("X'", "'")]

    class Parser(DuckDBParser):
        """See the module."""

        CONSTRAINT_PARSERS: ClassVar = {
            **DuckDBParser.CONSTRAINT_PARSERS,
            "ENCRYPTED": _encrypted,
            "GENERATED": _generated,
        }
        PLACEHOLDER_PARSERS: ClassVar = {
            **DuckDBParser.PLACEHOLDER_PARSERS,
            TokenType.PLACEHOLDER: _placeholder,
            TokenType.COLON: _named,
        }

        def _parse_statement(self) -> Any:
            if self._curr and self._match_text_seq("VACUUM"):
                return parse_vacuum(self)
            return super()._parse_statement()

        def _parse_alter(self) -> Any:
            return parse_alter(self)

        def _parse_as_command(self, start: Token) -> NoReturn:
            fail(
                "AM-2205",
                what=f"this form of {start.text.upper()}",
                where=token_place(start),
                fix=SUPPORTED,
            )

        def _parse_command(self) -> NoReturn:
            self._parse_as_command(self._prev)
