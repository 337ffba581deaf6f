"""The name of a compiled circuit: client and engine compare it before anything runs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from blake3 import blake3

from amaters.fhe.parameters import Parameters

if TYPE_CHECKING:
    from amaters.plan.circuit import CompiledPlan


def digest(plan: CompiledPlan, parameters: Parameters) -> bytes:
    """BLAKE3 over everything that runs: plan bytes, parameters, operations with levels, outputs."""
    hasher = blake3(b"amaters circuit 1")
    parts: list[object] = [plan.spec.to_bytes(), parameters.name, parameters.data_primes]
    parts += [
        (
            s.index,
            s.node.op,
            s.node.operands,
            s.node.factors,
            s.node.offset,
            s.node.ref,
            s.level,
            s.drops,
        )
        for s in plan.steps
    ]
    parts += [(v.literals, v.occupied, v.grouped, v.scale, v.values) for v in plan.vectors]
    parts += [
        (a.term, a.weight, a.categories, a.factor, a.lo, a.hi, a.left, a.right, a.segments_max)
        for a in plan.accumulators
    ]
    parts += [(p.node, p.factor, p.radix, p.column_id, p.weight) for p in plan.packed]
    parts.append(plan.output_level)
    for part in parts:
        hasher.update(repr(part).encode())
        hasher.update(b"\n")
    return hasher.digest()
