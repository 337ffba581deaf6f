"""The noise bounds, as pure functions of a parameter set. All results are log2.

Everything is a bound B on the *canonical norm*: the largest absolute value that the noisy plaintext
c0 + c1 s + c2 s^2 + ... takes at a primitive 2N-th root of unity. The norm is multiplicative,
bounds every coefficient, and needs no independence of the operands, so squares, power ladders and
pairs computed from the same input are covered (IND-CPA-D attacks exploit bounds that assume
independence).

Constants: a sum of N independent mean-zero terms of standard deviation sigma exceeds D sqrt(N)
sigma, D = 11, at one of N roots with probability < N exp(-121) < 2^-159; one coefficient exceeds
14.2 sigma with probability < 2 exp(-100.8) < 2^-144. The secret has canonical norm <= S = 4 sqrt(N)
by rejection. Remaining heuristic: rounding errors are uniform (Costache, Curtis, Hales, Murphy,
Ogilvie, Player 2022). Sources: Gentry, Halevi, Smart 2012, appendix A.5 (canonical norm); FHE
design section 4.
"""

from __future__ import annotations

from functools import lru_cache
from math import log2, prod, sqrt

from amaters.fhe.parameters import KeySwitchShape, Parameters

D = 11.0
COEFFICIENT_SIGMAS = 14.2
ERROR_VARIANCE = 10.5  # CBD(21): 42 coins of variance 1/4
LIFT_VARIANCE = 0.25  # in units of t^2: a coefficient lifted at random to m or m - t
SECRET_NORM_FACTOR = 4.0  # canonical norm of the secret <= 4 sqrt(N)
SECRET_WEIGHT_FACTOR = 0.7  # its squared length <= 0.7 N (2N/3 is expected)
_LIFT_BIAS = 1.0  # 32-bit thresholds of the lifting leave a mean of < t 2^-32 in each coefficient


def log_sum(*terms: float) -> float:
    """log2 of the sum of 2^term, without overflow."""
    top = max(terms)
    return top + log2(sum(2.0 ** (term - top) for term in terms))


def fresh(parameters: Parameters) -> float:
    """Bound of a symmetric encryption, whatever the data: 2^28.2 at N = 16384."""
    N, t = parameters.ring_degree, parameters.plaintext_modulus
    return log2(D * sqrt(N) * t * sqrt(LIFT_VARIANCE + ERROR_VARIANCE) + _LIFT_BIAS)


def merged(parameters: Parameters, parts: int) -> float:
    """Bound of a sum of ``parts`` different fresh encryptions: a sum of N ``parts`` independent
    mean-zero terms, so the variance grows by ``parts`` and the bound by its root.
    """
    N, t = parameters.ring_degree, parameters.plaintext_modulus
    if parts == 1:
        return fresh(parameters)
    deviation = D * sqrt(N * parts) * t * sqrt(LIFT_VARIANCE + ERROR_VARIANCE)
    return log2(deviation + parts * _LIFT_BIAS)


def coefficient_scale(parameters: Parameters) -> float:
    """Coefficients of f r, f a fresh encryption independent of r, are <= 2^(this) |r|: 14.2 t
    sqrt(10.75).
    """
    t = parameters.plaintext_modulus
    return log2(COEFFICIENT_SIGMAS * t * sqrt(LIFT_VARIANCE + ERROR_VARIANCE)) + 1e-6


def public_key_fresh(parameters: Parameters) -> float:
    """Bound of a public-key encryption: t (e u + e1 + e2 s) + m, u ternary; about 2^37 in this
    norm.

    e u: D^2 N sqrt(10.5 * 2/3); e1: D sqrt(10.5 N); e2 s: D sqrt(10.5 N) S. (Typical size: 25
    bits.)
    """
    N, t = parameters.ring_degree, parameters.plaintext_modulus
    error = D * sqrt(ERROR_VARIANCE * N)
    mask = D * sqrt(N * 2.0 / 3.0)
    secret = SECRET_NORM_FACTOR * sqrt(N)
    return log2(
        t * error * (mask + 1 + secret) + D * sqrt(N) * t * sqrt(LIFT_VARIANCE) + _LIFT_BIAS
    )


@lru_cache(maxsize=64)
def rounding(parameters: Parameters, degree: int) -> float:
    """What dividing by primes = 1 mod t adds: D t sqrt(N/12) (1 + S + ... + S^degree); 2^33.7 at
    degree 1.

    Dividing by a product T of k primes subtracts delta/T = x~/T - [x~]_t, x~ the fast base
    conversion of x mod T: |x~|/T has variance k/12, which the slack covers for k <= 100.
    """
    N, t = parameters.ring_degree, parameters.plaintext_modulus
    secret = SECRET_NORM_FACTOR * sqrt(N)
    return log2(D * t * sqrt(N / 12.0) * sum(secret**i for i in range(degree + 1))) + 1e-6


def key_switch_error(parameters: Parameters, shape: KeySwitchShape) -> float:
    """Noise of one switched component after division by P, without the rounding of that division.

    Each digit (uniform, its fast base conversion at most alpha times too large) meets one key
    error: sum over digits of alpha D^2 N t sqrt(10.5/12) Q_j / P.
    """
    N, t = parameters.ring_degree, parameters.plaintext_modulus
    weight = sum(
        (stop - start) * 2.0 ** _log_product(parameters.data_primes[start:stop], shape.special)
        for start, stop in shape.digits
    )
    return log2(D * D * N * t * sqrt(ERROR_VARIANCE / 12.0) * weight)


def _log_product(digit: tuple[int, ...], special: tuple[int, ...]) -> float:
    return log2(prod(digit)) - log2(prod(special))


@lru_cache(maxsize=512)
def key_switch(parameters: Parameters, level: int) -> float:
    """What an unmerged key switch adds, rounding by P included."""
    shape = parameters.key_switch(level, merged=False)
    error = key_switch_error(parameters, shape)
    return log_sum(error, rounding(parameters, 1))


@lru_cache(maxsize=512)
def merged_switch(parameters: Parameters, level: int) -> float:
    """What a key switch merged with dropping the top limb of ``level`` adds (the division
    included).
    """
    shape = parameters.key_switch(level, merged=True)
    error = key_switch_error(parameters, shape)
    return log_sum(error - log2(parameters.data_primes[level - 1]), rounding(parameters, 1))


REKEY_BASE_BITS = 23  # digits of a change of key: primes have at most 46 bits, so two suffice


@lru_cache(maxsize=64)
def rekey(parameters: Parameters) -> float:
    """What a change of key at the highest level adds (``fhe.rekeying``): 2^34.7 at N = 16384.

    As ``key_switch_error`` twice, with the width of a digit in place of its prime: 2^23 for the low
    half, q / 2^23 and a bit for the high one; and the rounding of the division by P, twice.
    """
    N, t, base = parameters.ring_degree, parameters.plaintext_modulus, 2.0**REKEY_BASE_BITS
    widths = sum(base + prime / base + 2.0 for prime in parameters.data_primes)
    scale = D * D * N * t * sqrt(ERROR_VARIANCE / 12.0)
    error = log2(scale * widths / parameters.special_prime)
    return log_sum(error, rounding(parameters, 1), rounding(parameters, 1))


def public_norm_limit(parameters: Parameters) -> float:
    """What planning assumes of a public 0/1 vector: 2^25 at N = 16384.

    The coefficients of a random mask are uniform mod t, so its norm is about D t sqrt(N/12) =
    2^24.7. Not a proof: the evaluator computes the exact norm and refuses a vector above this
    limit.
    """
    return 18.0 + 0.5 * log2(parameters.ring_degree)


def download(parameters: Parameters) -> float:
    """Largest *coefficient* of the rounding to the download modulus: 14.2 t sqrt((1 + 0.7 N)/12).

    A coefficient bound: this close to the modulus the canonical norm would not fit. c1's rounding
    error meets the secret, whose squared length is at most 0.7 N by rejection.
    """
    N, t = parameters.ring_degree, parameters.plaintext_modulus
    return log2(COEFFICIENT_SIGMAS * t * sqrt((1.0 + SECRET_WEIGHT_FACTOR * N) / 12.0))
