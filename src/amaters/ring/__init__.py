"""Modular kernels over Z_q[X]/(X^N + 1) in float64: transforms, products, packing. Loads Numba.

Values are centred residues in float64; the evaluation domain uses *kernel order* (``ring.order``).
``ring.ring.Ring`` is the friendly door; ``ring.transform``, ``ring.products``, ``ring.pack`` hold
the kernels.
"""
