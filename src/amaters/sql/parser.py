"""Statements out of SQL text: sqlglot's trees, guarded by length and depth, nothing resolved."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import NoReturn

from sqlglot import exp
from sqlglot.errors import ParseError, SqlglotError, TokenError
from sqlglot.tokenizer_core import Token, TokenType

from amaters.base.errors import fail
from amaters.sql.altergrammar import Alter, VacuumTables
from amaters.sql.dialect import SUPPORTED, AmateRS, place, token_place

TEXT_LENGTH_MAX = 4 << 20
BRACKET_DEPTH_MAX = 64
NODES_MAX = 1_000_000

_OPEN = (TokenType.L_PAREN, TokenType.L_BRACKET, TokenType.L_BRACE)
_CLOSE = (TokenType.R_PAREN, TokenType.R_BRACKET, TokenType.R_BRACE)
_KINDS = (
    exp.Select, exp.Insert, exp.Update, exp.Delete, exp.Create, exp.Drop, exp.Copy, Alter,
    VacuumTables,
)  # fmt: skip


_BEGIN, _COMMIT, _ROLLBACK = ("BEGIN", "START"), ("COMMIT", "END"), ("ROLLBACK", "ABORT")
_TRANSACTIONS: Mapping[tuple[str, ...], type[exp.Expr]] = {
    (word, *more): made
    for words, made in (
        (_BEGIN, exp.Transaction),
        (_COMMIT, exp.Commit),
        (_ROLLBACK, exp.Rollback),
    )
    for word in words
    for more in ((), ("TRANSACTION",), ("WORK",))
    if word != "START" or more == ("TRANSACTION",)
}


@dataclass(frozen=True, slots=True)
class ExplainOptions:
    """What was written between EXPLAIN and SELECT."""

    analyze: bool
    format: str


@dataclass(frozen=True, slots=True)
class Parsed:
    """One statement. ``positional`` counts its ``?``; ``names`` are its ``:name`` in text order.
    ``fetch``: exact, padded or all, where that is written.
    """

    tree: exp.Expr
    explain: ExplainOptions | None
    positional: int
    names: tuple[str, ...]
    fetch: str | None = None


def parse_one(text: str) -> Parsed:
    """The only statement of ``text``. Raises: as ``parse``; AM-2201 for none or several."""
    statements = parse(text)
    if len(statements) != 1:
        what = f"expected one statement, found {len(statements)}"
        fail("AM-2201", where=place(1, 1), what=what, fix="run statements one at a time")
    return statements[0]


@lru_cache(maxsize=256)
def parse(text: str) -> tuple[Parsed, ...]:
    """The statements of ``text``, in order; empty statements are dropped.

    Raises: AM-2201 not SQL, AM-2202 too long or too deep, AM-2205 a statement of no known kind.
    """
    return tuple(_statement(AmateRS(), part, text) for part in _split(_tokens(text)))


def split(text: str) -> list[str]:
    """The texts of the statements in ``text``, comments between them dropped.

    Raises: AM-2201, AM-2202.
    """
    statements = _split(_tokens(text))
    return [text[part[0].start : part[-1].end + 1] for part in statements]


def _tokens(text: str) -> list[Token]:
    if len(text) > TEXT_LENGTH_MAX:
        fail("AM-2202", what="long", limit=f"{TEXT_LENGTH_MAX} characters")
    try:
        return AmateRS().tokenize(text)
    except TokenError as error:
        _unreadable(error)


def _split(tokens: Sequence[Token]) -> list[list[Token]]:
    """Tokens per statement, checked for bracket depth before any recursion follows them."""
    statements: list[list[Token]] = [[]]
    depth = 0
    for token in tokens:
        if token.token_type in _OPEN:
            depth += 1
        elif token.token_type in _CLOSE:
            depth -= 1
        if depth > BRACKET_DEPTH_MAX:
            fail("AM-2202", what="deep", limit=f"{BRACKET_DEPTH_MAX} nested brackets")
        if token.token_type is TokenType.SEMICOLON:
            statements.append([])
        else:
            statements[-1].append(token)
    return [part for part in statements if part]


def _statement(dialect: AmateRS, tokens: list[Token], text: str) -> Parsed:
    explain, rest = _explain(tokens)
    made = _TRANSACTIONS.get(tuple(token.text.upper() for token in rest[:3]))
    if made is not None:
        return Parsed(made(), explain, 0, ())
    rest, fetch = _fetch(rest)
    try:
        parsed = dialect.parser(max_nodes=NODES_MAX).parse(rest, text)
    except SqlglotError as error:
        _unreadable(error)
    except RecursionError:
        fail("AM-2202", what="deep", limit="some hundred nested operators")
    tree = parsed[0] if parsed else None
    if len(parsed) != 1 or not isinstance(tree, _KINDS):
        what = f"a statement starting with {rest[0].text.upper()}" if rest else "this statement"
        fail("AM-2205", what=what, where=token_place(rest[0] if rest else None), fix=SUPPORTED)
    positional, names = _parameters(tree)
    return Parsed(tree, explain, positional, names, fetch)


def _fetch(tokens: list[Token]) -> tuple[list[Token], str | None]:
    """The tokens before ``FETCH EXACT | PADDED | ALL`` at the end of a statement, and that word."""
    words = [token.text.lower() for token in tokens[-2:]]
    if len(words) == 2 and words[0] == "fetch" and words[1] in ("exact", "padded", "all"):
        return tokens[:-2], words[1]
    return tokens, None


def _parameters(tree: exp.Expr) -> tuple[int, tuple[str, ...]]:
    """Number the ``?`` of a tree (meta ``parameter``) by position in the text; collect names."""
    found = list(tree.find_all(exp.Placeholder, exp.Parameter))
    for node in found:
        if "start" not in node.meta:
            what = "this form of parameter"
            fail("AM-2205", what=what, where="position unknown", fix="use ? or :name")
    nodes = sorted(found, key=lambda node: int(node.meta["start"]))
    positional = [node for node in nodes if not node.this]
    for index, node in enumerate(positional):
        node.meta["parameter"] = index
    named = dict.fromkeys(str(node.this) for node in nodes if node.this)
    return len(positional), tuple(named)


def _explain(tokens: list[Token]) -> tuple[ExplainOptions | None, list[Token]]:
    """Options of a leading EXPLAIN and what follows it.

    ``EXPLAIN [ANALYZE] statement`` and
    ``EXPLAIN (ANALYZE [true|false], FORMAT text|json|pgjson|mermaid) statement``.
    """
    words = [token.text.upper() for token in tokens[:2]]
    if words[:1] != ["EXPLAIN"] or tokens[0].token_type is not TokenType.VAR:
        return None, tokens
    if words[1:] == ["ANALYZE"]:
        return ExplainOptions(True, "text"), tokens[2:]
    if words[1:] != ["("]:
        return ExplainOptions(False, "text"), tokens[1:]
    closing = [i for i, token in enumerate(tokens) if token.token_type is TokenType.R_PAREN]
    if not closing:
        what = "a bracket is not closed"
        fail("AM-2201", where=token_place(tokens[1]), what=what, fix="add the closing bracket")
    return _explain_options(tokens[2 : closing[0]]), tokens[closing[0] + 1 :]


def _explain_options(tokens: list[Token]) -> ExplainOptions:
    analyze, form = False, "text"
    options: list[list[str]] = [[]]
    for token in tokens:
        if token.token_type is TokenType.COMMA:
            options.append([])
        else:
            options[-1].append(token.text.lower())
    for option in options:
        match option:
            case ["analyze"] | ["analyze", "true" | "on" | "1"]:
                analyze = True
            case ["analyze", "false" | "off" | "0"]:
                analyze = False
            case ["format", ("text" | "json" | "pgjson" | "mermaid") as chosen]:
                form = chosen
            case _:
                fail(
                    "AM-2205",
                    what=f"EXPLAIN option {' '.join(option).upper()}",
                    where=token_place(tokens[0] if tokens else None),
                    fix="the options are ANALYZE and FORMAT text | json | pgjson | mermaid",
                )
    return ExplainOptions(analyze, form)


def _unreadable(error: SqlglotError) -> NoReturn:
    """Raise AM-2201 at the place sqlglot names, without repeating the statement's text."""
    where, what = place(1, 1), "a quote or comment is not closed"
    if isinstance(error, ParseError) and error.errors:
        first = error.errors[0]
        where = place(first.get("line") or 1, first.get("col") or 1)
        what = str(first.get("description") or "not understood").split(" but got ")[0].split(".")[0]
        if "<class" in what:  # the parser's own names mean nothing to a reader of SQL
            what = "something is missing"
    fail("AM-2201", where=where, what=what, fix="compare it with the SQL reference")
