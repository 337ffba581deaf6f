"""Plans: bound statements, circuits over ciphertexts, their cost, noise proof and leakage."""
