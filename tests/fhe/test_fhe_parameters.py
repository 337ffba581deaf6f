"""Parameter sets are what the 2024 security table allows, and their chains what the kernels
need.
"""

from __future__ import annotations

from math import log2, prod

import pytest

from amaters.base.errors import AmatersError
from amaters.fhe.parameters import DEEP, DEFAULT, INSECURE_N1024, Parameters, get_parameters
from amaters.fhe.security import quantum_security_bits, require_secure, security_bits
from amaters.ring.primes import is_prime

SETS = (DEFAULT, DEEP, INSECURE_N1024)


@pytest.mark.parametrize("parameters", SETS, ids=lambda p: p.name)
def test_chain_is_made_of_fitting_primes(parameters: Parameters) -> None:
    """Every modulus is a prime = 1 mod 2N and mod t of at most 48 bits, all distinct."""
    chain = (*parameters.data_primes, parameters.special_prime)
    assert all(is_prime(q) for q in chain)
    assert all(q % (2 * parameters.ring_degree) == 1 and q % 65537 == 1 for q in chain)
    assert len(set(chain)) == len(chain)
    assert max(chain) < 1 << 48
    assert parameters.download_modulus % 65537 == 1


def test_default_chain_is_the_designed_one() -> None:
    """46, 46, eight ascending small primes and a 44-bit special one: 427.9 bits."""
    sizes = [round(log2(q), 2) for q in DEFAULT.data_primes]
    assert sizes == [46.0, 46.0, 33.81, 35.64, 36.49, 36.52, 36.78, 36.83, 37.85, 37.99]
    assert round(log2(DEFAULT.special_prime)) == 44
    assert round(DEFAULT.modulus_bits, 1) == 427.9
    assert DEFAULT.data_primes[2:] == tuple(sorted(DEFAULT.data_primes[2:]))


@pytest.mark.parametrize("parameters", [DEFAULT, DEEP], ids=lambda p: p.name)
def test_production_sets_have_128_bits(parameters: Parameters) -> None:
    """All primes count, the special ones too."""
    everything = prod(parameters.data_primes) * parameters.special_prime
    assert security_bits(parameters.ring_degree, log2(everything)) >= 128


@pytest.mark.parametrize(
    ("degree", "bits", "granted"),
    [
        (8192, 214, 128),
        (8192, 214.1, 0),
        (8192, 114, 256),
        (16384, 430, 128),
        (16384, 430.5, 0),
        (16384, 297, 192),
        (16384, 230, 256),
        (32768, 868, 128),
        (32768, 868.2, 0),
        (32768, 597, 192),
        (4096, 10, 0),
    ],
)
def test_security_table(degree: int, bits: float, granted: int) -> None:
    """ePrint 2024/463, Table 5.2: exactly at the limit is granted, above is not; unknown
    rings never.
    """
    assert security_bits(degree, bits) == granted


def test_quantum_column() -> None:
    assert quantum_security_bits(16384, 409) == 128
    assert quantum_security_bits(16384, 427.9) == 0


def test_larger_sets_are_refused_unless_their_name_admits_it() -> None:
    """438 bits at N = 16384 pass SEAL's older table; here they need the prefix."""
    with pytest.raises(AmatersError) as caught:
        require_secure("bgv_n16384_q438", 16384, 438.0)
    assert caught.value.code == "AM-1201"
    require_secure("insecure_bgv_n16384_q438", 16384, 438.0)


def test_an_insecure_parameters_object_cannot_be_built_under_an_honest_name() -> None:
    with pytest.raises(AmatersError) as caught:
        Parameters(
            name="bgv_n1024",
            ring_degree=1024,
            data_primes=DEFAULT.data_primes,
            special_prime=DEFAULT.special_prime,
            download_modulus=DEFAULT.download_modulus,
        )
    assert caught.value.code == "AM-1201"


def test_primes_that_do_not_fit_are_refused() -> None:
    with pytest.raises(AmatersError) as caught:
        Parameters(
            name="insecure_x",
            ring_degree=1024,
            data_primes=(97,),
            special_prime=DEFAULT.special_prime,
            download_modulus=DEFAULT.download_modulus,
        )
    assert caught.value.code == "AM-1200"


def test_names_and_aliases() -> None:
    assert get_parameters("default") is DEFAULT is get_parameters(DEFAULT.name)
    assert get_parameters("deep") is DEEP
    with pytest.raises(AmatersError) as caught:
        get_parameters("no_such_set")
    assert caught.value.code == "AM-1200"


@pytest.mark.parametrize("level", range(1, 11))
@pytest.mark.parametrize("merged", [False, True])
def test_key_switch_digits_cover_the_level_and_use_only_dropped_primes(
    level: int, merged: bool
) -> None:
    """Digits partition limbs 0 .. level - 1; no special prime is a live limb."""
    shape = DEFAULT.key_switch(level, merged=merged)
    covered = [limb for start, stop in shape.digits for limb in range(start, stop)]
    assert covered == list(range(level))
    assert len(shape.special) == shape.alpha
    assert not set(shape.special) & set(DEFAULT.data_primes[:level])
