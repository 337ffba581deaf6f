"""Making keysets and describing them."""

from __future__ import annotations

from dataclasses import dataclass

from amaters.base import errors
from amaters.base.clock import Clock
from amaters.base.rng import Rng
from amaters.client.keyset import Keyset, new_keyset
from amaters.fhe.parameters import Parameters, deeper, get_parameters
from amaters.fhe.scheme import SCHEMES

INSECURE = "insecure_"
SECURE = ("default", "deep")
_MADE_BYTES_PER_SECOND = 60e6  # of evaluation keys, one core; `amaters keys create` is quicker


@dataclass(frozen=True, slots=True)
class Choice:
    """The scheme and parameter set a caller allows for new and for existing databases."""

    scheme: str = "bgv"
    parameters: str = "default"

    @property
    def unsafe(self) -> bool:
        """Whether this protects nothing: the noop scheme, or parameters for tests."""
        return self.scheme == "noop" or self.parameter_set.name.startswith(INSECURE)

    @property
    def parameter_set(self) -> Parameters:
        return get_parameters(self.parameters)


def choose(
    unsafe_scheme: str | None, unsafe_parameters: str | None, parameters: str | None = None
) -> Choice:
    """The choice that ``connect``'s arguments make. Raises: UsageError AM-1001."""
    if parameters not in (None, *SECURE):
        errors.fail(
            "AM-1001",
            what=f"parameters={parameters!r} is not known",
            fix="pass 'default', or 'deep' for deeper filters at about twice the cost",
        )
    if unsafe_scheme not in (None, "noop"):
        errors.fail(
            "AM-1001",
            what=f"unsafe_scheme={unsafe_scheme!r} is not known; known schemes: {SCHEMES}",
            fix="leave it out, or pass 'noop', which encrypts nothing",
        )
    if unsafe_parameters is not None and not unsafe_parameters.startswith(INSECURE):
        errors.fail(
            "AM-1001",
            what=f"unsafe_parameters={unsafe_parameters!r} does not begin with {INSECURE!r}",
            fix="leave it out: secure parameters are the default",
        )
    return Choice(unsafe_scheme or "bgv", unsafe_parameters or parameters or "default")


def make_keyset(scheme: str, parameters: str, clock: Clock, rng: Rng) -> Keyset:
    """A new keyset. Cost: milliseconds; evaluation keys are made from it when first needed."""
    from amaters.fhe.secret import SecretKey, make_client_scheme

    chosen = get_parameters(parameters)
    secret = SecretKey.generate(chosen)
    deep = b"" if deeper(chosen) == chosen else SecretKey.generate(deeper(chosen)).to_bytes()
    key_id = make_client_scheme(scheme, chosen, secret).key_id
    return new_keyset(
        key_id,
        scheme,
        chosen.name,
        secret.to_bytes(),
        created=clock.now(),
        rng=rng,
        deep_key=deep,
    )


@dataclass(frozen=True, slots=True)
class KeyPlan:
    """What a keyset of one parameter set will be, before it is made. Sizes in bytes."""

    parameters: Parameters
    security_bits: int
    quantum_security_bits: int
    secret_bytes: int
    evaluation_bytes: int
    rotation_bytes: int

    @property
    def seconds(self) -> float:
        """To make the evaluation keys, about, on one core."""
        return self.evaluation_bytes / _MADE_BYTES_PER_SECOND


def plan_keys(parameters: str) -> KeyPlan:
    """Sizes and security of the keys of a parameter set. Raises: AM-1200."""
    from amaters.fhe.keys import relinearization_shapes, stored_bytes
    from amaters.fhe.rekeying import rekey_shapes
    from amaters.fhe.secret.key import key_bytes
    from amaters.fhe.security import quantum_security_bits, security_bits

    chosen = get_parameters(parameters)
    degree, bits = chosen.ring_degree, chosen.modulus_bits
    return KeyPlan(
        chosen,
        security_bits(degree, bits),
        quantum_security_bits(degree, bits),
        key_bytes(chosen),
        stored_bytes(chosen, relinearization_shapes(chosen)),
        stored_bytes(chosen, rekey_shapes(chosen)),
    )


def describe(scheme: str, parameters: str) -> dict[str, str]:
    """What a person wants to know of a parameter set before relying on it."""
    chosen = get_parameters(parameters)
    if scheme == "noop":
        security = "NONE: the noop scheme encrypts nothing"
    elif chosen.name.startswith(INSECURE):
        security = "NONE: this parameter set is for tests"
    else:
        security = "at least 128 bits, classical (ePrint 2024/463, Table 5.2)"
    return {
        "scheme": scheme,
        "parameters": chosen.name,
        "security": security,
        **_sizes(chosen),
        "deep tables": deeper(chosen).name,
        **{f"deep {name}": text for name, text in _sizes(deeper(chosen)).items()},
    }


def _sizes(parameters: Parameters) -> dict[str, str]:
    from amaters.fhe.keys import relinearization_shapes, stored_bytes

    evaluation = stored_bytes(parameters, relinearization_shapes(parameters))
    return {
        "slots": f"{parameters.slots:,}",
        "modulus": f"{parameters.modulus_bits:.1f} bits in {parameters.max_level} + 1 primes",
        "evaluation keys": f"{evaluation / 1e6:,.1f} MB",
    }
