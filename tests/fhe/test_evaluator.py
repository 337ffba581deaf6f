"""The real evaluator against plain arithmetic, its refusals, and use from several threads."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from amaters.base.errors import AmatersError
from amaters.fhe.ciphertext import Ciphertext
from amaters.fhe.parameters import Parameters
from amaters.fhe.scheme import ClientScheme, Evaluator, make_evaluator
from amaters.fhe.secret import SecretKey, make_client_scheme


def fresh(
    client: ClientScheme, evaluator: Evaluator, values: np.ndarray, level: int
) -> list[Ciphertext]:
    bounds = [(int(row.min()), int(row.max())) for row in values]
    return [evaluator.expand_seeded(ct, level) for ct in client.encrypt(values, bounds)]


@pytest.fixture(scope="module")
def values(parameters: Parameters) -> np.ndarray:
    return np.random.default_rng(7).integers(-20, 21, (4, parameters.slots))


def test_linear_operations(client: ClientScheme, evaluator: Evaluator, values: np.ndarray) -> None:
    for level in (1, 3, 10):
        a, b, c, _ = fresh(client, evaluator, values, level)
        x, y, z, _ = values
        cases = [
            (evaluator.add(a, b), x + y),
            (evaluator.sub(a, b), x - y),
            (evaluator.negate(a), -x),
            (evaluator.scale(a, -37), -37 * x),
            (evaluator.offset(a, 1000), x + 1000),
            (evaluator.linear([(3, a), (-5, b), (1, c)], -9), 3 * x - 5 * y + z - 9),
        ]
        for found, expected in cases:
            assert client.exact_noise(found) <= found.meta.noise
            assert np.array_equal(client.decrypt(found), expected)


def test_products_of_every_degree(
    client: ClientScheme, evaluator: Evaluator, values: np.ndarray
) -> None:
    """Degrees 2 and 3 decrypt without relinearisation; sums of mixed degree too."""
    a, b, c, _ = fresh(client, evaluator, values, 4)
    x, y, z, _ = values
    double = evaluator.multiply(a, b)
    triple = evaluator.multiply(double, c)
    assert (double.degree, triple.degree) == (2, 3)
    assert np.array_equal(client.decrypt(double), x * y)
    assert np.array_equal(client.decrypt(triple), x * y * z)
    assert np.array_equal(client.decrypt(evaluator.add(triple, a)), x * y * z + x)
    for ct in (double, triple):
        assert client.exact_noise(ct) <= ct.meta.noise


@pytest.mark.parametrize("count", [1, 2, 9, 33])
def test_dot(
    client: ClientScheme, evaluator: Evaluator, parameters: Parameters, count: int
) -> None:
    rng = np.random.default_rng(count)
    xs, ys = rng.integers(-9, 10, (2, count, parameters.slots))
    a, b = (fresh(client, evaluator, part, 3) for part in (xs, ys))
    found = evaluator.dot(a, b)
    assert found.degree == 2
    assert client.exact_noise(found) <= found.meta.noise
    assert np.array_equal(client.decrypt(found), (xs * ys).sum(axis=0))


def test_accumulation_writes_into_its_accumulator(
    client: ClientScheme, evaluator: Evaluator, values: np.ndarray
) -> None:
    """Also where operands are truncated views of higher levels."""
    a, b, c, d = fresh(client, evaluator, values, 6)
    a, b, c, d = (evaluator.truncate(ct, 3) for ct in (a, b, c, d))
    acc = evaluator.multiply_accumulate(None, a, b)
    buffer = acc.data
    acc = evaluator.multiply_accumulate(acc, c, d)
    assert acc.data is buffer
    x, y, z, w = values
    assert np.array_equal(client.decrypt(acc), x * y + z * w)
    short = evaluator.truncate(evaluator.multiply_accumulate(None, a, b), 2)
    low = [evaluator.truncate(ct, 2) for ct in (c, d)]
    assert np.array_equal(client.decrypt(evaluator.multiply_accumulate(short, *low)), x * y + z * w)
    three = evaluator.multiply_accumulate(None, acc, a)
    three = evaluator.multiply_accumulate(three, acc, b)
    assert three.degree == 3
    assert np.array_equal(client.decrypt(three), (x * y + z * w) * (x + y))


def test_public_operands(client: ClientScheme, evaluator: Evaluator, values: np.ndarray) -> None:
    mask = (values[3] > 0).astype(np.int64)
    a, b, *_ = fresh(client, evaluator, values, 3)
    vector = evaluator.encode_public(mask)
    x, y, *_ = values
    masked = evaluator.multiply_public(a, vector)
    assert client.exact_noise(masked) <= masked.meta.noise
    assert np.array_equal(client.decrypt(masked), x * mask)
    assert np.array_equal(client.decrypt(evaluator.add_public(a, vector)), x + mask)
    product = evaluator.multiply_public(evaluator.multiply(a, b), vector)
    assert np.array_equal(client.decrypt(product), x * y * mask)


def test_operands_are_left_alone(
    client: ClientScheme, evaluator: Evaluator, values: np.ndarray
) -> None:
    """Every operation but multiply_accumulate returns new data."""
    a, b, *_ = fresh(client, evaluator, values, 4)
    before = a.data.copy(), b.data.copy()
    product = evaluator.multiply(a, b)
    kept = product.data.copy()
    evaluator.dot([a], [b])
    evaluator.linear([(2, a), (1, b)])
    evaluator.switch(product)
    evaluator.relinearize(product)
    evaluator.drop(a)
    assert np.array_equal(product.data, kept)
    assert np.array_equal(a.data, before[0])
    assert np.array_equal(b.data, before[1])


def test_refusals_are_typed(
    client: ClientScheme, evaluator: Evaluator, values: np.ndarray, parameters: Parameters
) -> None:
    a, b, *_ = fresh(client, evaluator, values, 4)
    stranger = make_client_scheme("bgv", parameters, SecretKey.generate(parameters))
    (foreign,) = fresh(stranger, evaluator, values[:1], 4)
    low = evaluator.truncate(b, 3)
    product = evaluator.multiply(a, b)
    cases = [
        ("AM-1204", lambda: evaluator.multiply(a, low)),
        ("AM-1204", lambda: evaluator.add(a, low)),
        ("AM-1204", lambda: evaluator.multiply(product, product)),
        ("AM-1204", lambda: evaluator.dot([], [])),
        ("AM-1204", lambda: evaluator.dot([a, b], [a])),
        ("AM-1204", lambda: evaluator.dot([product], [a])),
        ("AM-1204", lambda: evaluator.truncate(low, 4)),
        ("AM-1204", lambda: evaluator.multiply_accumulate(product, product, a)),
        ("AM-1206", lambda: evaluator.add(a, foreign)),
        ("AM-1206", lambda: evaluator.dot([a, foreign], [a, a])),
        ("AM-1204", lambda: evaluator.encode_public(np.zeros(3, dtype=np.int64))),
        ("AM-2301", lambda: evaluator.drop(evaluator.truncate(a, 1))),
        ("AM-1210", lambda: make_evaluator("bgv", parameters, b"no keys")),
    ]
    for code, attempt in cases:
        with pytest.raises(AmatersError) as raised:
            attempt()
        assert raised.value.code == code


def test_threads_share_one_evaluator(
    client: ClientScheme, evaluator: Evaluator, values: np.ndarray
) -> None:
    """Scratch is per thread: concurrent switches give the same bytes as sequential ones."""
    cts = fresh(client, evaluator, values, 7)

    def work(index: int) -> bytes:
        ct = evaluator.multiply(cts[index % 4], cts[(index + 1) % 4])
        for _ in range(3):
            down = evaluator.switch(ct)
            ct = evaluator.multiply(down, evaluator.truncate(cts[index % 4], down.level))
        return evaluator.dot([down], [down]).data.tobytes()

    expected = [work(index) for index in range(8)]
    with ThreadPoolExecutor(max_workers=4) as pool:
        assert list(pool.map(work, range(8))) == expected
