"""Everything that touches a secret key. Never imported by the untrusted side (a checked
contract).
"""

from __future__ import annotations

from amaters.base.errors import fail
from amaters.base.rng import Rng, SystemRng
from amaters.fhe.parameters import Parameters
from amaters.fhe.scheme import ClientScheme
from amaters.fhe.secret.key import SecretKey

__all__ = ["SecretKey", "make_client_scheme"]


def make_client_scheme(
    scheme: str, parameters: Parameters, secret_key: SecretKey, rng: Rng | None = None
) -> ClientScheme:
    """The client's side of ``scheme``. ``noop`` uses the key's identifier only.

    Raises: AM-1204 for an unknown scheme or a key of another parameter set.
    """
    if secret_key.parameters != parameters:
        fail("AM-1204", what=f"a key of {secret_key.parameters.name} for {parameters.name}")
    source = rng or SystemRng()
    if scheme == "noop":
        from amaters.fhe.noop import NoopClientScheme

        return NoopClientScheme(parameters, secret_key.key_id, source)
    if scheme == "bgv":
        from amaters.fhe.secret.client import BgvClientScheme

        return BgvClientScheme(secret_key, source)
    fail("AM-1204", what=f"there is no scheme {scheme[:40]!r}")
