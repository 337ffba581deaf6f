"""The grammar of ALTER TABLE and VACUUM, which no other dialect has.

ALTER TABLE [IF EXISTS] t action, ...
action: ADD [COLUMN] [IF NOT EXISTS] c TYPE [NOT NULL] [DEFAULT v] [ENCRYPTED [WITH (...)]]
      | DROP [COLUMN] [IF EXISTS] c | RENAME [COLUMN] c TO d | RENAME TO u
      | ALTER [COLUMN] c ADD QUERY q, ... | ALTER [COLUMN] c DROP QUERY q, ...
      | ALTER [COLUMN] c SET MIN v | ALTER [COLUMN] c SET MAX v | ALTER [COLUMN] c ADD VALUE v, ...
      | ALTER [COLUMN] c SET NOT NULL | ALTER [COLUMN] c DROP NOT NULL
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

from sqlglot import exp
from sqlglot.tokenizer_core import TokenType

_ACTIONS = ("ADD", "DROP", "RENAME", "ALTER")
_FORMS = (
    "the actions are ADD COLUMN, DROP COLUMN, RENAME COLUMN a TO b, RENAME TO t, and "
    "ALTER COLUMN c ADD QUERY, DROP QUERY, ADD VALUE, SET MIN, SET MAX, SET NOT NULL, "
    "DROP NOT NULL"
)


class Alter(exp.Expression):
    """``this``: a table; ``expressions``: some ``AlterAction``."""

    arg_types: ClassVar = {"this": True, "expressions": False, "exists": False}


class AlterAction(exp.Expression):
    """``kind`` is a word for each form; ``expressions`` are names of queries, or values."""

    arg_types: ClassVar = {
        "kind": True,
        "this": False,
        "to": False,
        "expressions": False,
        "exists": False,
    }


class VacuumTables(exp.Expression):
    """``expressions``: tables, none for all; ``backups``: constants."""

    arg_types: ClassVar = {"expressions": False, "erase": False, "backups": False}


def parse_vacuum(parser: Any) -> VacuumTables:
    """What follows VACUUM: ``[ERASE] [t, ...] [WITH (BACKUPS = 'directory')]``."""
    erase = bool(parser._match_text_seq("ERASE"))
    tables: list[exp.Expr] = []
    if parser._curr and parser._curr.token_type is not TokenType.WITH:
        tables = [parser._parse_table_parts()]
        while parser._match(TokenType.COMMA):
            tables.append(parser._parse_table_parts())
    backups: list[exp.Expr] = []
    if parser._match(TokenType.WITH):
        backups = parser._parse_wrapped_csv(lambda: _backup(parser))
    made = VacuumTables(expressions=tables, erase=erase, backups=backups)
    node: VacuumTables = parser.expression(made)
    return node


def _backup(parser: Any) -> exp.Expr:
    if not (parser._match_text_seq("BACKUPS") and parser._match(TokenType.EQ)):
        parser.raise_error("the option is BACKUPS = 'directory or URL'")
    return _one_value(parser)


def parse_alter(parser: Any) -> Alter:
    """What follows ALTER TABLE."""
    if not parser._match(TokenType.TABLE):
        parser.raise_error("ALTER is followed by TABLE")
    exists = bool(parser._match_text_seq("IF", "EXISTS"))
    table = parser._parse_table_parts()
    actions = [_action(parser)]
    while parser._match(TokenType.COMMA):
        actions.append(_action(parser))
    node: Alter = parser.expression(Alter(this=table, expressions=actions, exists=exists))
    return node


def _action(parser: Any) -> AlterAction:
    found: AlterAction | None = None
    if parser._match_text_seq("ADD"):
        found = _add(parser)
    elif parser._match_text_seq("DROP"):
        parser._match_text_seq("COLUMN")
        exists = bool(parser._match_text_seq("IF", "EXISTS"))
        found = _made(parser, "drop", this=_name(parser), exists=exists)
    elif parser._match_text_seq("RENAME", "TO"):
        found = _made(parser, "rename table", to=_name(parser))
    elif parser._match_text_seq("RENAME"):
        parser._match_text_seq("COLUMN")
        old = _name(parser)
        if not parser._match_text_seq("TO"):
            parser.raise_error("RENAME COLUMN a TO b")
        found = _made(parser, "rename", this=old, to=_name(parser))
    elif parser._match_text_seq("ALTER"):
        parser._match_text_seq("COLUMN")
        found = _column_action(parser, _name(parser))
    if found is None:
        parser.raise_error(_FORMS)
        raise AssertionError
    return found


def _add(parser: Any) -> AlterAction:
    parser._match_text_seq("COLUMN")
    exists = bool(parser._match_text_seq("IF", "NOT", "EXISTS"))
    column = parser._parse_column_def(_name(parser))
    return _made(parser, "add", this=column, exists=exists)


def _column_action(parser: Any, column: exp.Expr) -> AlterAction | None:
    forms: tuple[tuple[tuple[str, ...], str, Callable[[Any], list[exp.Expr]] | None], ...] = (
        (("ADD", "QUERY"), "add query", _queries),
        (("ADD", "QUERIES"), "add query", _queries),
        (("DROP", "QUERY"), "drop query", _queries),
        (("DROP", "QUERIES"), "drop query", _queries),
        (("ADD", "VALUE"), "add value", _values),
        (("ADD", "VALUES"), "add value", _values),
        (("SET", "MIN"), "set min", _value),
        (("SET", "MAX"), "set max", _value),
        (("SET", "NOT", "NULL"), "set not null", None),
        (("DROP", "NOT", "NULL"), "drop not null", None),
    )
    for words, kind, rest in forms:
        if parser._match_text_seq(*words):
            return _made(parser, kind, this=column, expressions=rest(parser) if rest else [])
    return None


def _made(parser: Any, kind: str, **parts: Any) -> AlterAction:
    node: AlterAction = parser.expression(AlterAction(kind=kind, **parts))
    return node


def _name(parser: Any) -> exp.Expr:
    found: exp.Expr | None = parser._parse_id_var()
    if found is None:
        parser.raise_error("expected a name")
        raise AssertionError
    found.update_positions(parser._prev)
    return found


def _listed(parser: Any, one: Callable[[Any], exp.Expr]) -> list[exp.Expr]:
    """Items between commas; a comma before the next action is that one's."""
    items = [one(parser)]
    while parser._curr and parser._curr.token_type is TokenType.COMMA:
        following = parser._next
        if not following or following.text.upper() in _ACTIONS:
            break
        parser._advance()
        items.append(one(parser))
    return items


def _queries(parser: Any) -> list[exp.Expr]:
    return _listed(parser, _query)


def _query(parser: Any) -> exp.Expr:
    """A word, or ``prefix(n)``."""
    name = parser._parse_var(any_token=True)
    if name is None:
        parser.raise_error("expected eq, range, sum, group or prefix(n)")
    text = name.name
    if parser._match(TokenType.L_PAREN):
        size = parser._parse_primary()
        text = f"{text}({size.name if size is not None else ''})"
        parser._match_r_paren()
    return exp.Var(this=text)


def _values(parser: Any) -> list[exp.Expr]:
    return _listed(parser, _one_value)


def _value(parser: Any) -> list[exp.Expr]:
    return [_one_value(parser)]


def _one_value(parser: Any) -> exp.Expr:
    found: exp.Expr | None = parser._parse_unary()
    if found is None:
        parser.raise_error("expected a value")
        raise AssertionError
    return found
