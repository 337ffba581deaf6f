"""One key and one evaluator per scheme for all tests of this folder, over a small insecure ring."""

from __future__ import annotations

import pytest

from amaters.fhe.noop import NoopEvaluator
from amaters.fhe.parameters import INSECURE_N1024, Parameters
from amaters.fhe.scheme import ClientScheme, Evaluator, make_evaluator
from amaters.fhe.secret import SecretKey, make_client_scheme


@pytest.fixture(scope="session")
def parameters() -> Parameters:
    return INSECURE_N1024


@pytest.fixture(scope="session")
def secret_key(parameters: Parameters) -> SecretKey:
    return SecretKey.generate(parameters)


@pytest.fixture(scope="session")
def client(parameters: Parameters, secret_key: SecretKey) -> ClientScheme:
    return make_client_scheme("bgv", parameters, secret_key)


@pytest.fixture(scope="session")
def evaluator(parameters: Parameters, client: ClientScheme) -> Evaluator:
    return make_evaluator("bgv", parameters, client.evaluation_keys())


@pytest.fixture(scope="session")
def noop_client(parameters: Parameters, secret_key: SecretKey) -> ClientScheme:
    return make_client_scheme("noop", parameters, secret_key)


@pytest.fixture(scope="session")
def noop_evaluator(parameters: Parameters) -> Evaluator:
    return NoopEvaluator(parameters)
