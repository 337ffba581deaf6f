"""The noise and slot rules: the design's figures, and when a gain may be claimed."""

from __future__ import annotations

import pytest

from amaters.base.errors import AmatersError
from amaters.fhe import noise
from amaters.fhe.meta import ANY_ORIGIN, Meta, Rules
from amaters.fhe.parameters import DEEP, DEFAULT

RULES = Rules(DEFAULT)


def fresh(level: int, origin: int | None = None, hi: int = 1) -> Meta:
    return RULES.fresh(level, 0, hi, origin=origin)


def mask(level: int, origin: int) -> Meta:
    """A 0/1 mask one level above which two switched indicators met."""
    a = RULES.switch(RULES.multiply(fresh(level + 2, origin), fresh(level + 2, origin + 1)))
    b = RULES.switch(RULES.multiply(fresh(level + 2, origin + 2), fresh(level + 2, origin + 3)))
    return RULES.switch(RULES.multiply(a, b))


def raises(code: str) -> pytest.RaisesExc[AmatersError]:
    return pytest.RaisesExc(AmatersError, check=lambda error: error.code == code)


def test_figures_of_the_design() -> None:
    """FHE section 4: 28.2 fresh, 33.7 after a drop, 42.7 for a drop at degree 2, 2^40 unmerged."""
    assert round(noise.fresh(DEFAULT), 1) == 28.2
    assert round(noise.rounding(DEFAULT, 1), 1) == 33.7
    assert round(noise.rounding(DEFAULT, 2), 1) == 42.7
    assert 39.5 < noise.key_switch(DEFAULT, 8) < 40.5
    assert abs(noise.merged_switch(DEFAULT, 8) - 33.67) < 0.01


@pytest.mark.parametrize("parameters", [DEFAULT, DEEP], ids=lambda p: p.name)
def test_squaring_converges_on_every_level(parameters: object) -> None:
    """A product and a switch per level stays within reach of the noise floor down to two limbs."""
    rules = Rules(parameters)  # type: ignore[arg-type]
    meta = rules.fresh(rules.parameters.max_level, 0, 1, origin=1)
    while meta.level > 2:
        meta = rules.assert_bound(rules.switch(rules.multiply(meta, meta)), 0, 1)
        assert rules.headroom(meta) > 40.0
    assert meta.noise < 42.0


def test_triple_product_needs_and_gets_the_independent_factor() -> None:
    """mask x onehot x value at two limbs: canonical 2^91 would fail, the coefficient bound is
    2^84.4.
    """
    value, onehot = fresh(2, 100), fresh(2, 101)
    product = RULES.multiply(RULES.multiply(value, onehot), mask(2, 1))
    assert product.degree == 3
    assert product.noise > 90.9
    assert 83.0 < RULES.coefficient_bound(product) < 85.0
    RULES.check(product)


def test_257_segments_add_in_quadrature() -> None:
    """Distinct fresh values, one shared query: 2^88.4, as designed."""
    total = None
    for segment in range(257):
        value, onehot = fresh(2, 10_000 + segment), fresh(2, 20_000 + segment)
        rest = RULES.multiply(value, onehot)
        total = RULES.accumulate(total, RULES.multiply(rest, mask(2, 1)))
    assert total is not None
    assert 87.0 < RULES.coefficient_bound(total) < 89.0
    RULES.check(total)


def test_the_same_value_twice_adds_linearly() -> None:
    product = RULES.multiply(fresh(2, 100), mask(2, 1))
    twice = RULES.accumulate(product, product)
    assert RULES.coefficient_bound(twice) == pytest.approx(RULES.coefficient_bound(product) + 1)
    distinct = RULES.accumulate(product, RULES.multiply(fresh(2, 101), mask(2, 1)))
    assert RULES.coefficient_bound(distinct) == pytest.approx(
        RULES.coefficient_bound(product) + 0.5
    )


def test_a_factor_the_mask_depends_on_is_not_independent() -> None:
    """WHERE g = 'a' GROUP BY g: the one-hot slice occurs in both operands, so nothing is gained."""
    m = mask(2, 1)
    product = RULES.multiply(fresh(2, 1), m)  # origin 1 is inside the mask
    assert RULES.coefficient_bound(product) == product.noise
    square = RULES.multiply(fresh(2, 7), fresh(2, 7))
    assert RULES.coefficient_bound(square) == square.noise


def test_a_received_ciphertext_may_depend_on_anything() -> None:
    received = RULES.received(Meta(2, 1, 40.0, 0, 1), 40.0)
    assert ANY_ORIGIN in received.others
    product = RULES.multiply(fresh(2, 7), received)
    assert RULES.coefficient_bound(product) == product.noise


def test_sums_of_fresh_stay_a_factor_until_something_public_is_added() -> None:
    total = RULES.add(fresh(2, 1), fresh(2, 2))
    assert total.factors == {1, 2}
    assert RULES.offset(total, 5).factors == frozenset()


def test_coefficient_bound_of_a_sum_with_something_else_adds() -> None:
    product = RULES.multiply(fresh(2, 100), mask(2, 1))
    other = RULES.multiply(mask(2, 11), mask(2, 21))
    total = RULES.add(product, other)
    expected = noise.log_sum(RULES.coefficient_bound(product), other.noise)
    assert RULES.coefficient_bound(total) == pytest.approx(expected)
    assert not total.factors


def test_too_deep_is_refused_with_both_figures() -> None:
    meta = RULES.multiply(mask(1, 1), mask(1, 11))
    with raises("AM-2301") as caught:
        RULES.check(meta)
    assert "2^" in str(caught.value)
    with raises("AM-2301"):
        RULES.switch(fresh(1, 1))


def test_slot_overflow_is_refused_where_sums_grow() -> None:
    """257 segments of an unsigned 8-bit limb fit t, 258 do not."""
    limb = RULES.fresh(2, 0, 255)
    total = limb
    for _ in range(256):
        total = RULES.add(total, limb)
    assert (total.lo, total.hi) == (0, 257 * 255)
    with raises("AM-1203"):
        RULES.add(total, limb)
    with raises("AM-1203"):
        RULES.fresh(2, 0, 65537)


def test_polynomials_may_wrap_and_be_bounded_again() -> None:
    """Products leave [0, t) freely; decoding needs a bound that was asserted."""
    wide = RULES.multiply(RULES.fresh(2, 0, 300), RULES.fresh(2, 0, 300))
    assert RULES.wrapped(wide)
    with raises("AM-1203"):
        RULES.check_decodable(wide)
    assert RULES.linear([(3, wide)], offset=4).hi == 65537
    assert not RULES.wrapped(RULES.assert_bound(wide, 0, 1))


@pytest.mark.parametrize(
    ("a", "b", "expected"),
    [((-3, 2), (-5, 7), (-21, 15)), ((0, 1), (-128, 127), (-128, 127)), ((2, 3), (4, 5), (8, 15))],
)
def test_product_intervals(
    a: tuple[int, int], b: tuple[int, int], expected: tuple[int, int]
) -> None:
    product = RULES.multiply(RULES.fresh(2, *a), RULES.fresh(2, *b))
    assert (product.lo, product.hi) == expected


def test_linear_is_exact_on_intervals_and_scalars() -> None:
    total = RULES.linear([(-2, RULES.fresh(2, 1, 4)), (3, RULES.fresh(2, -1, 1))], offset=10)
    assert (total.lo, total.hi) == (10 - 8 - 3, 10 - 2 + 3)
    assert total.noise == pytest.approx(noise.fresh(DEFAULT) + 2.3219, abs=1e-3)


def test_scalars_are_taken_mod_t_centred() -> None:
    """Multiplying by t - 1 is multiplying by -1: no noise."""
    a = fresh(2, 1)
    assert RULES.scale(a, 65536).noise == a.noise
    assert RULES.scale(a, 65537 * 3).noise == 0.0


@pytest.mark.parametrize(
    "wrong",
    [
        lambda: RULES.add(fresh(2), fresh(3)),
        lambda: RULES.multiply(fresh(2), fresh(3)),
        lambda: RULES.truncate(fresh(2), 3),
        lambda: RULES.shrink(fresh(2)),
        lambda: RULES.linear([]),
        lambda: RULES.dot([]),
        lambda: RULES.accumulate(fresh(2), RULES.multiply(fresh(2), fresh(2))),
        lambda: RULES.relinearize(RULES.multiply(fresh(2), RULES.multiply(fresh(2), fresh(2)))),
        lambda: RULES.multiply(
            RULES.multiply(fresh(2), fresh(2)), RULES.multiply(fresh(2), fresh(2))
        ),
    ],
)
def test_operands_that_do_not_fit_are_a_typed_error(wrong) -> None:  # type: ignore[no-untyped-def]
    with raises("AM-1204"):
        wrong()


def test_levels_that_do_not_exist() -> None:
    for level in (0, 11):
        with raises("AM-1202"):
            fresh(level)


def test_public_vectors_are_bounded() -> None:
    a = fresh(3, 1)
    assumed = RULES.public_multiply(a)
    assert assumed.noise == pytest.approx(a.noise + 25.0)
    assert RULES.public_multiply(a, 20.0).noise == pytest.approx(a.noise + 20.0)
    assert assumed.factors == {1}
    with raises("AM-1205"):
        RULES.public_multiply(a, 25.1)


def test_public_mask_on_a_fresh_operand_is_absorbed_by_the_next_switch() -> None:
    """FHE section 6: the bits it adds vanish with one drop."""
    product = RULES.multiply(RULES.public_multiply(fresh(4, 1)), fresh(4, 2))
    assert RULES.switch(product).noise < 46.0


def test_shrunk_masks_are_provable() -> None:
    """16 packed masks: sum of 2^i m_i, one switch to level 1, then 26 bits."""
    total = RULES.linear([(1 << i, mask(2, 100 * i)) for i in range(16)])
    final = RULES.shrink(RULES.switch(total))
    assert final.level == 0
    RULES.check_decodable(final)


def test_expansion_grows_linearly() -> None:
    metas = RULES.expand(fresh(10, 1), 49)
    assert len(metas) == 49
    assert metas[0].noise < 46.5


def equality(level: int, digits: int) -> Meta:
    """The degree-16 equality polynomial of FHE section 6 on a sum of ``digits`` indicator
    products.
    """
    pairs = [(fresh(level, 2 * i), fresh(level, 2 * i + 1)) for i in range(3 * digits)]
    count = RULES.assert_bound(RULES.switch(RULES.dot(pairs)), 0, 16)
    shifted = RULES.linear([(2, count)], offset=-15)
    z = RULES.linear([(1, RULES.switch(RULES.multiply(shifted, shifted)))], offset=-85)
    z2 = RULES.switch(RULES.multiply(z, z))
    a = RULES.multiply(RULES.offset(z2, -7056), RULES.offset(z2, -1296))
    b = RULES.multiply(z2, RULES.offset(z2, -14496))
    a, b = RULES.switch(a), RULES.switch(b)
    z = RULES.drop(RULES.drop(z))
    b = RULES.linear([(1, b), (-696320, z)], offset=-2553600)
    return RULES.multiply(a, b)


def test_equality_polynomial_of_32_bit_columns_is_provable_at_six_limbs() -> None:
    """FHE section 6 states a bound of 2^82.9 for the result and 2^36.9 after a 46-bit drop."""
    result = equality(6, 16)
    assert result.level == 2
    assert result.noise < 84.0
    RULES.check(result)
    assert RULES.switch(result).noise < 38.5
