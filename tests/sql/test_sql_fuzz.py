"""Broken SQL ends in a typed refusal, never in an error of the parser underneath."""

from __future__ import annotations

import random

from sql_support import PAY, run

from amaters.base.errors import AmatersError, InvalidError

SEEDS = (
    "SELECT grade g , COUNT(*) , SUM ( rate * salary ) FROM pay WHERE age BETWEEN 1 AND ? "
    "GROUP BY 1 ORDER BY 2 DESC NULLS FIRST LIMIT 3 OFFSET 1",
    "SELECT * FROM pay AS p WHERE NOT ( p.age IN ( 1 , NULL , PUBLIC ( 5 ) ) OR born < "
    "DATE '1994-01-01' + INTERVAL '1' YEAR ) AND \"Full Time\" IS NOT TRUE",
    "SELECT DISTINCT dept , 1.5 , 'x' , - 1 FROM pay WHERE dept = :name AND 5 < age",
    "INSERT INTO pay ( id , salary , born ) VALUES ( 1 , 2 + 3 , '2001-02-03' ) , ( 2 , ? , NULL )",
    "COPY pay ( id , age ) FROM 'f.csv' ( HEADER , DELIMITER '|' , NULL 'NA' )",
    "EXPLAIN ( ANALYZE , FORMAT json ) SELECT AVG ( age ) FROM pay",
    "DROP TABLE IF EXISTS pay",
    "SELECT CASE WHEN SUM ( rate ) > 1 THEN COALESCE ( COUNT ( DISTINCT grade ) , 0 ) // 2 ELSE "
    "- AVG ( salary * ( 1 - rate ) ) END FROM pay GROUP BY dept HAVING SUM ( salary ) FILTER "
    "( WHERE age > 3 ) / 2 >= NULLIF ( COUNT ( * ) , 0 ) ORDER BY IF ( @ "
    "SUM ( rate ) % 3 = 1 , 2 , 1 )",
    "CREATE TABLE g ( a INTEGER , b BIGINT GENERATED ALWAYS AS ( 2 * a - 1 ) STORED ENCRYPTED )",
    " ".join(PAY.replace("(", " ( ").replace(")", " ) ").replace(",", " , ").split()),
)
WORDS = sorted(
    {word for text in SEEDS for word in text.split()} | set("()[]{},;.*+-/%<>=!?:$@#'\"`")
)
WORDS += [
    "UNION",
    "JOIN",
    "LIKE",
    "CASE",
    "WITH",
    "OVER",
    "::",
    "||",
    "->",
    "$1",
    "--",
    "/*",
    "\x00",
]


def mutated(rng: random.Random) -> str:
    """A statement with some words dropped, exchanged, doubled, or taken from elsewhere."""
    words = rng.choice(SEEDS).split()
    for _ in range(rng.randint(1, 4)):
        place = rng.randrange(len(words))
        match rng.randrange(4):
            case 0 if len(words) > 1:
                del words[place]
            case 1:
                words[place] = rng.choice(WORDS)
            case 2:
                words.insert(place, rng.choice(WORDS))
            case _:
                other = rng.randrange(len(words))
                words[place], words[other] = words[other], words[place]
    return " ".join(words)


def test_mutated_statements_are_bound_or_refused() -> None:
    """2,500 mutations: each is bound or refused with a code of this layer or of the columns."""
    rng = random.Random(1)
    bound = refused = 0
    for _ in range(2500):
        text = mutated(rng)
        parameters = {"name": "x"} if ":name" in text else [1] * text.count("?")
        try:
            run(text, parameters)
            bound += 1
        except AmatersError as error:
            assert isinstance(error, InvalidError) and error.code[:5] in ("AM-20", "AM-22"), text
            refused += 1
        except Exception as error:
            raise AssertionError(f"{type(error).__name__} for {text!r}") from error
    assert bound > 40 and refused > 500
