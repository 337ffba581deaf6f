"""Benchmarks: real plans over real ciphertexts, every answer checked against plaintext."""
