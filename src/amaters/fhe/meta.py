"""What is public about a ciphertext, and how every operation changes it.

The real evaluator, the noop evaluator and the planner all use these rules, so a plan that the
planner accepted cannot fail on a server for noise or slot values.

**Independent factors.** Noise bounds multiply (``amaters.fhe.noise``), except for one gain that
final products need. Write the noisy plaintext as f_1 r_1 + ... + f_k r_k, each f_i a fresh
encryption (coefficients independent, mean zero) that no r_j depends on. Then its coefficients are
at most 14.2 t sqrt(10.75) sqrt(|r_1|^2 + ... + |r_k|^2). ``rest`` is log2 of that root, ``factors``
names the f_i, ``others`` every other encryption this one depends on. An encryption is named by an
*origin*: 64 bits of its seed at run time, any distinct number in the planner. Where independence
does not follow from these sets, ``factors`` becomes empty: ``rest`` then only states a bound on the
coefficients, which adds, and which no product inherits.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from math import inf, log2

from amaters.base.errors import fail
from amaters.fhe import noise
from amaters.fhe.parameters import Parameters

DEGREE_MAX = 3
REKEYS_MAX = 8  # changes of key that a stored ciphertext may have behind it: three bits of noise
PARTS_MAX = 64  # encryptions that one merged ciphertext may sum: three bits of noise
_NONE: frozenset[int] = frozenset()
ANY_ORIGIN = -1  # in ``others``: depends on encryptions that nobody recorded


@dataclass(frozen=True, slots=True)
class Meta:
    """Level, degree, noise bound (log2, canonical norm) and exact slot-value interval [lo, hi].

    ``level`` 0 is a shrunk ciphertext, whose ``noise`` bounds coefficients. When hi - lo >= t the
    slot values are only known mod t (``Rules.wrapped``).
    """

    level: int
    degree: int
    noise: float
    lo: int
    hi: int
    rest: float | None = None
    factors: frozenset[int] = _NONE
    others: frozenset[int] = _NONE

    @property
    def origins(self) -> frozenset[int]:
        """Every encryption this ciphertext depends on."""
        return self.factors | self.others


_Factors = tuple[float | None, frozenset[int], frozenset[int]]  # rest, factors, others


class Rules:
    """The rules for one parameter set: pure, cheap (microseconds), no ciphertexts involved."""

    def __init__(self, parameters: Parameters) -> None:
        self.parameters = parameters
        self._t = parameters.plaintext_modulus
        self._fresh = noise.fresh(parameters)
        self._coefficient = noise.coefficient_scale(parameters)

    # sources

    def fresh(self, level: int, lo: int, hi: int, *, origin: int | None = None) -> Meta:
        """A symmetric encryption, truncated to ``level`` (free and exact: no noise is added).

        ``origin`` names the encryption: equal for two uses of one ciphertext, distinct for two
        ciphertexts. Without it the encryption never counts as an independent factor.
        """
        self._require_level(level)
        self._require_slots(lo, hi)
        if origin is None:
            return Meta(level, 1, self._fresh, lo, hi)
        return Meta(level, 1, self._fresh, lo, hi, rest=0.0, factors=frozenset((origin,)))

    def merged(
        self, parts: int, level: int, lo: int, hi: int, *, origin: int | None = None
    ) -> Meta:
        """A sum of ``parts`` different symmetric encryptions that are zero in each other's slots.

        It counts as one independent factor with the root of ``parts`` times the deviation, so it
        needs one ``origin`` of its own: none of its summands may be used beside it.
        """
        if not 1 <= parts <= PARTS_MAX:
            fail("AM-1204", what=f"a sum of {parts} encryptions")
        meta = self.fresh(level, lo, hi, origin=origin)
        rest = None if meta.rest is None else meta.rest + 0.5 * log2(parts)
        return replace(meta, noise=noise.merged(self.parameters, parts), rest=rest)

    def stored(
        self,
        parts: int,
        rekeys: int,
        level: int,
        lo: int,
        hi: int,
        *,
        origin: int | None = None,
    ) -> Meta:
        """What an engine keeps: a sum of ``parts`` encryptions that was moved to another key
        ``rekeys`` times since. What moving adds is no fresh encryption, so after it no independent
        factor is left.
        """
        if not 0 <= rekeys <= REKEYS_MAX:
            fail("AM-1204", what=f"a ciphertext that was moved to another key {rekeys} times")
        meta = self.merged(parts, level, lo, hi, origin=origin)
        for _ in range(rekeys):
            meta = self._plus(meta, noise.rekey(self.parameters))
        return meta

    def rekey(self, a: Meta) -> Meta:
        """Another secret key; degree 1, highest level."""
        if a.degree != 1 or a.level != self.parameters.max_level:
            fail("AM-1204", what=f"another key at degree {a.degree}, level {a.level}")
        return self._plus(a, noise.rekey(self.parameters))

    def received(self, meta: Meta, coefficient_bound: float) -> Meta:
        """A computed ciphertext from elsewhere: its bounds hold, what it depends on is unknown."""
        rest = None
        if coefficient_bound < meta.noise:
            rest = coefficient_bound - self._coefficient
        return replace(meta, rest=rest, factors=_NONE, others=frozenset((ANY_ORIGIN,)))

    def public_key_fresh(self, level: int, lo: int, hi: int, *, origin: int | None = None) -> Meta:
        """A public-key encryption: more noise, never an independent factor."""
        self._require_level(level)
        self._require_slots(lo, hi)
        others = _NONE if origin is None else frozenset((origin,))
        return Meta(level, 1, noise.public_key_fresh(self.parameters), lo, hi, others=others)

    # linear operations

    def add(self, *metas: Meta) -> Meta:
        """Bounds add; distinct independent factors add in quadrature.

        Raises: AM-1203 when values that fit t would no longer fit it.
        """
        total = self._sum(metas)
        if self.wrapped(total) and not any(self.wrapped(meta) for meta in metas):
            fail("AM-1203", width=sum(meta.hi - meta.lo for meta in metas), modulus=self._t)
        return total

    def sub(self, a: Meta, b: Meta) -> Meta:
        """Like ``add`` of the negated second operand."""
        return self.add(a, self.negate(b))

    def negate(self, a: Meta) -> Meta:
        """Same noise, mirrored interval."""
        return replace(a, lo=-a.hi, hi=-a.lo)

    def scale(self, a: Meta, k: int) -> Meta:
        """Noise times the absolute value of k mod t, centred: that is the scalar the evaluator
        uses.
        """
        lo, hi = sorted((k * a.lo, k * a.hi))
        grow = self._scalar_bits(k)
        if grow == -inf:  # k = 0 mod t: the zero ciphertext
            return replace(a, noise=0.0, rest=None, factors=_NONE, others=a.origins, lo=0, hi=0)
        scaled = replace(a, noise=a.noise + grow, rest=None if a.rest is None else a.rest + grow)
        return self._bounded(scaled, lo, hi, unknown=self.wrapped(a))

    def offset(self, a: Meta, k: int) -> Meta:
        """Adds k to every slot: the constant polynomial k mod t, centred."""
        return self._offset(a, k, self._scalar_bits(k))

    def linear(self, terms: Sequence[tuple[int, Meta]], offset: int = 0) -> Meta:
        """sum of k_i a_i + offset. Values may leave [0, t): polynomials are evaluated mod t."""
        if not terms:
            fail("AM-1204", what="a linear combination without terms")
        total = self._sum([self.scale(meta, k) for k, meta in terms])
        return self.offset(total, offset) if offset else total

    # products

    def multiply(self, a: Meta, b: Meta) -> Meta:
        """Product, not relinearised. With two fresh operands the *first* is kept as the independent
        factor.
        """
        if a.level != b.level or a.level == 0:
            fail("AM-1204", what=f"levels {a.level} and {b.level}")
        if a.degree + b.degree > DEGREE_MAX:
            fail("AM-1204", what=f"a product of degrees {a.degree} and {b.degree}")
        rest, factors, others = self._product_factors(a, b)
        corners = (a.lo * b.lo, a.lo * b.hi, a.hi * b.lo, a.hi * b.hi)
        lo, hi = min(corners), max(corners)
        if hi - lo >= self._t or self.wrapped(a) or self.wrapped(b):
            lo, hi = 0, self._t
        degree, bound = a.degree + b.degree, a.noise + b.noise
        return Meta(a.level, degree, bound, lo, hi, rest, factors, others)

    def dot(self, pairs: Iterable[tuple[Meta, Meta]]) -> Meta:
        """Sum of products of degree-1 operands. Raises: AM-1203 like ``add``."""
        products = [self.multiply(a, b) for a, b in pairs]
        if not products or any(product.degree != 2 for product in products):
            fail("AM-1204", what="a dot product that is empty or has operands above degree 1")
        return self.add(*products)

    def accumulate(self, acc: Meta | None, product: Meta) -> Meta:
        """``acc + product``, of equal degree; where their fresh factors are distinct the bounds
        add in quadrature.
        """
        if acc is None:
            return product
        if acc.degree != product.degree:
            fail("AM-1204", what=f"adding degree {product.degree} to degree {acc.degree}")
        return self.add(acc, product)

    def public_multiply(self, a: Meta, mask_norm_log2: float | None = None) -> Meta:
        """Product with a public 0/1 vector of that norm; None assumes the worst that is
        accepted.
        """
        return self.public_product(a, mask_norm_log2, 0, 1)

    def public_product(self, a: Meta, norm_log2: float | None, lo: int, hi: int) -> Meta:
        """Product with a public vector with slots in [lo, hi]. Raises: AM-1205 above the assumed
        norm.
        """
        norm = self._public_norm(norm_log2)
        corners = (a.lo * lo, a.lo * hi, a.hi * lo, a.hi * hi)
        rest = None if a.rest is None or not a.factors else a.rest + norm
        others = a.origins if rest is None else a.others
        product = replace(a, noise=a.noise + norm, rest=rest, others=others)
        return self._bounded(product, min(corners), max(corners), unknown=self.wrapped(a))

    def public_add(self, a: Meta, norm_log2: float | None, lo: int, hi: int) -> Meta:
        """Sum with a public vector with slots in [lo, hi]. Raises: AM-1203, AM-1205."""
        norm = self._public_norm(norm_log2)
        unknown = self.wrapped(a)
        if not unknown and a.hi + hi - a.lo - lo >= self._t:
            fail("AM-1203", width=a.hi + hi - a.lo - lo, modulus=self._t)
        return self._bounded(self._plus(a, norm), a.lo + lo, a.hi + hi, unknown=unknown)

    # key switches and levels

    def relinearize(self, a: Meta) -> Meta:
        """Degree 2 to 1 at the same level."""
        if a.degree == 1:
            return a
        self._require_switchable(a)
        added = noise.key_switch(self.parameters, a.level)
        return replace(self._plus(a, added), degree=1)

    def switch(self, a: Meta) -> Meta:
        """Relinearise (at degree 2, merged) and drop the top limb."""
        if a.degree == 1:
            return self.drop(a)
        self._require_switchable(a)
        divided = self._divided(a)
        added = noise.merged_switch(self.parameters, a.level)
        return replace(self._plus(divided, added), degree=1)

    def drop(self, a: Meta) -> Meta:
        """Divide by the top prime. At degree 2 the rounding alone is 2^42.7: relinearise first."""
        return self._plus(self._divided(a), noise.rounding(self.parameters, a.degree))

    def truncate(self, a: Meta, level: int) -> Meta:
        """Forget limbs: the noise stays, the modulus shrinks. Meant for fresh ciphertexts."""
        self._require_level(level)
        if level > a.level:
            fail("AM-1204", what=f"truncating level {a.level} to {level}")
        return replace(a, level=level)

    def automorphism(self, a: Meta) -> Meta:
        """X -> X^g followed by a key switch; permutes slots."""
        if a.degree != 1 or a.level == 0:
            fail("AM-1204", what=f"an automorphism at degree {a.degree}, level {a.level}")
        added = noise.key_switch(self.parameters, a.level)
        return self._plus(a, added)

    def expand(self, a: Meta, count: int) -> list[Meta]:
        """Oblivious expansion: ceil(log2 count) rounds a + sigma(a), each with one key switch.

        The client multiplies its packed constants by 2^-rounds, so the slot interval stays.
        """
        if not 1 <= count <= self.parameters.ring_degree:
            fail("AM-1204", what=f"an expansion to {count}")
        meta = a
        for _ in range((count - 1).bit_length()):
            moved = self.automorphism(meta)
            total = noise.log_sum(meta.noise, moved.noise)
            meta = replace(moved, noise=total, rest=None)
        return [meta] * count

    def shrink(self, a: Meta) -> Meta:
        """A degree-1, level-1 ciphertext rounded to the download modulus (level 0)."""
        if a.degree != 1 or a.level != 1:
            fail("AM-1204", what=f"shrinking at degree {a.degree}, level {a.level}")
        scale = self.parameters.log_modulus(0) - self.parameters.log_modulus(1)
        total = noise.log_sum(a.noise + scale, noise.download(self.parameters))
        return Meta(0, 1, total, a.lo, a.hi, others=a.origins)

    # questions

    def wrapped(self, a: Meta) -> bool:
        """True when the slot values are only known mod t."""
        return a.hi - a.lo >= self._t

    def assert_bound(self, a: Meta, lo: int, hi: int) -> Meta:
        """Replaces the interval by one the caller can prove (indicators are 0/1, a count is
        0..d).
        """
        self._require_slots(lo, hi)
        return replace(a, lo=lo, hi=hi)

    def coefficient_bound(self, a: Meta) -> float:
        """log2 of the proven bound on the coefficients of the noisy plaintext."""
        if a.rest is None:
            return a.noise
        return min(a.noise, a.rest + self._coefficient)

    def headroom(self, a: Meta) -> float:
        """Bits between the bound and q/2; decryption is provably exact exactly if this is
        positive.
        """
        return self.parameters.log_modulus(a.level) - 1.0 - self.coefficient_bound(a)

    def check(self, a: Meta) -> Meta:
        """``a`` itself. Raises: AM-2301 when its decryption is not provably exact."""
        if self.headroom(a) <= 0.0:
            fail(
                "AM-2301",
                needed=f"2^{self.coefficient_bound(a) + 1:.1f}",
                available=f"2^{self.parameters.log_modulus(a.level):.1f}",
            )
        return a

    def check_decodable(self, a: Meta) -> Meta:
        """``check``, and AM-1203 when the slot values do not determine integers in [lo, hi]."""
        if self.wrapped(a):
            fail("AM-1203", width=a.hi - a.lo, modulus=self._t)
        return self.check(a)

    def require_public_norm(self, norm_log2: float) -> None:
        """Refuse a public vector above the norm that plans assume (AM-1205)."""
        self._public_norm(norm_log2)

    # internals

    def _product_factors(self, a: Meta, b: Meta) -> _Factors:
        first, second = self._rest_of(a, b), self._rest_of(b, a)
        if first is None and second is None:
            return None, _NONE, a.origins | b.origins
        if second is None or (first is not None and first <= second):
            return first, a.factors, a.others | b.factors | b.others
        return second, b.factors, b.others | a.factors | a.others

    @staticmethod
    def _rest_of(factor: Meta, other: Meta) -> float | None:
        if factor.rest is None or not factor.factors:
            return None
        if not factor.factors.isdisjoint(other.factors) or ANY_ORIGIN in other.others:
            return None
        if not factor.factors.isdisjoint(other.others):
            return None
        return factor.rest + other.noise

    def _sum(self, metas: Sequence[Meta]) -> Meta:
        level = metas[0].level
        if level == 0 or any(meta.level != level for meta in metas):
            fail("AM-1204", what=f"levels {', '.join(str(meta.level) for meta in metas[:8])}")
        lo, hi = sum(meta.lo for meta in metas), sum(meta.hi for meta in metas)
        if hi - lo >= self._t or any(self.wrapped(meta) for meta in metas):
            lo, hi = 0, self._t
        total = noise.log_sum(*(meta.noise for meta in metas))
        degree = max(meta.degree for meta in metas)
        return Meta(level, degree, total, lo, hi, *self._sum_factors(metas))

    def _sum_factors(self, metas: Sequence[Meta]) -> _Factors:
        others = _NONE.union(*(meta.others for meta in metas))
        if all(meta.rest is None for meta in metas):
            return None, _NONE, others
        factors = _NONE.union(*(meta.factors for meta in metas))
        rests = [self._rest(meta) for meta in metas]
        independent = (
            all(meta.factors for meta in metas)
            and ANY_ORIGIN not in others
            and factors.isdisjoint(others)
        )
        if not independent:
            return noise.log_sum(*rests), _NONE, factors | others
        if sum(len(meta.factors) for meta in metas) == len(factors):
            return 0.5 * noise.log_sum(*(2.0 * rest for rest in rests)), factors, others
        # Shared factors, f r + f r': Minkowski's inequality.
        return noise.log_sum(*rests), factors, others

    def _rest(self, a: Meta) -> float:
        """The coefficient bound in units of a fresh factor."""
        return a.noise - self._coefficient if a.rest is None else a.rest

    def _plus(self, a: Meta, added: float) -> Meta:
        """``a`` with something of canonical norm 2^added on top: no longer a sum over factors."""
        rest = None if a.rest is None else noise.log_sum(a.rest, added - self._coefficient)
        total = noise.log_sum(a.noise, added)
        return replace(a, noise=total, rest=rest, factors=_NONE, others=a.origins)

    def _divided(self, a: Meta) -> Meta:
        """``a`` divided by the top prime, one level lower, before what the rounding adds."""
        if a.level < 2:
            fail("AM-2301", needed="one more level", available="none")
        prime = log2(self.parameters.data_primes[a.level - 1])
        rest = None if a.rest is None else a.rest - prime
        return replace(a, level=a.level - 1, noise=a.noise - prime, rest=rest)

    def _offset(self, a: Meta, k: int, bits: float) -> Meta:
        total = a if bits == -inf else self._plus(a, bits)
        return self._bounded(total, a.lo + k, a.hi + k, unknown=self.wrapped(a))

    def _bounded(self, a: Meta, lo: int, hi: int, *, unknown: bool = False) -> Meta:
        """``a`` with an interval; a wrapped one is normalised to [0, t], so numbers stay small."""
        if unknown or hi - lo >= self._t:
            lo, hi = 0, self._t
        return replace(a, lo=lo, hi=hi)

    def _scalar_bits(self, k: int) -> float:
        centred = (k + self._t // 2) % self._t - self._t // 2
        return log2(abs(centred)) if centred else -inf

    def _public_norm(self, norm_log2: float | None) -> float:
        limit = noise.public_norm_limit(self.parameters)
        if norm_log2 is None:
            return limit
        if norm_log2 > limit:
            fail("AM-1205", norm=f"2^{norm_log2:.1f}", limit=f"2^{limit:.1f}")
        return norm_log2

    @staticmethod
    def _require_switchable(a: Meta) -> None:
        if a.degree != 2 or a.level == 0:
            fail("AM-1204", what=f"relinearising at degree {a.degree}, level {a.level}")

    def _require_level(self, level: int) -> None:
        if not 1 <= level <= self.parameters.max_level:
            fail("AM-1202", what="level", level=level, limit=self.parameters.max_level)

    def _require_slots(self, lo: int, hi: int) -> None:
        if lo > hi or hi - lo >= self._t:
            fail("AM-1203", width=hi - lo, modulus=self._t)
