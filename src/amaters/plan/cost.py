"""What a plan costs, before it runs: transforms, limb products and bytes, calibrated to seconds.

The constants are for one core at N = 16384 and scale with N log N; ``amaters bench kernels``
measures the same quantities. Source: FHE sections 1 and 4.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import log2

from amaters.columns.schema import PublicTable
from amaters.fhe.parameters import Parameters
from amaters.plan.circuit import CompiledPlan, Step

TRANSFORM_SECONDS = 72e-6  # one limb, forward or inverse, with its share of the key products
LIMB_PRODUCT_SECONDS = 17e-6  # one limb of one product, operands not in cache
LIMB_PASS_SECONDS = 11e-6  # one limb of one polynomial read, combined and written
COLD_SECONDS_PER_BYTE = 1.1e-9  # reading a stored c0 and expanding its c1
_REFERENCE_DEGREE = 16384
ENCRYPTION_TRANSFORMS = 2  # per limb: of the message with its noise, and of the mask
_ENVELOPE_BYTES = 200  # header, seed and checksum of one ciphertext as sent


@dataclass(frozen=True, slots=True)
class Statistics:
    """What a client knows of a table when it plans. ``masked``: some segment has dead rows;
    ``parts``: encryptions that a merged segment sums, at most; ``rekeys``: changes of key that a
    segment has behind it, at most; ``ready_indexes``: numbers of the
    indexes that are complete, None when that is not known.
    """

    segments: int = 1
    rows: int = 0
    tail_rows: int = 0
    masked: bool = True
    parts: int = 1
    rekeys: int = 0
    ready_indexes: tuple[int, ...] | None = None


@dataclass(frozen=True, slots=True)
class Cost:
    """Totals over all segments, one public group assumed; seconds are core seconds."""

    key_switches: int
    products: int
    transforms: int
    bytes_read: int
    upload_bytes: int
    download_bytes: int
    seconds: float
    cold_seconds: float


def estimate(
    plan: CompiledPlan, table: PublicTable, parameters: Parameters, statistics: Statistics
) -> Cost:
    """The estimated cost of running ``plan`` over ``statistics.segments`` segments."""
    segments = max(statistics.segments, 0)
    per_segment = [step for step in plan.steps if not step.constant]
    transforms = plan.transforms(parameters)
    seconds = sum(step_seconds(step, parameters) for step in per_segment)
    products = sum(len(step.node.operands) // 2 for step in per_segment if step.node.op == "dot")
    seconds += output_seconds(plan, parameters)
    products += sum(a.right is not None for a in plan.accumulators)
    read = bytes_read(plan, parameters)
    switches = plan.key_switches + plan.key_switches_per_group
    return Cost(
        key_switches=switches * segments,
        products=products * segments,
        transforms=transforms * segments,
        bytes_read=read * segments,
        upload_bytes=upload_bytes(plan, parameters, segments) + len(plan.spec_bytes),
        download_bytes=download_bytes(plan, parameters, segments),
        seconds=seconds * segments,
        cold_seconds=read * segments * COLD_SECONDS_PER_BYTE,
    )


def encryption_seconds(parameters: Parameters) -> float:
    """Seconds of one fresh ciphertext on one core."""
    return ENCRYPTION_TRANSFORMS * parameters.max_level * TRANSFORM_SECONDS * _scale(parameters)


def fresh_bytes(parameters: Parameters) -> int:
    """Bytes of one fresh ciphertext at rest and on its way: half of it is a seed."""
    return sum(parameters.residue_bytes(parameters.max_level)) * parameters.slots + _ENVELOPE_BYTES


def upload_bytes(plan: CompiledPlan, parameters: Parameters, segments: int) -> int:
    """Bytes of the constants, and of the vectors that come with every segment."""
    vectors = [item.level for item in plan.vectors_sent] * segments
    return sum(
        sum(parameters.residue_bytes(level)) * parameters.slots + _ENVELOPE_BYTES
        for level in (*plan.constant_levels, *vectors)
    )


def step_seconds(step: Step, parameters: Parameters) -> float:
    """Seconds of one step on one core."""
    scale = _scale(parameters)
    node = step.node
    if node.op == "switch":
        return step.transforms(parameters) * TRANSFORM_SECONDS * scale
    if node.op == "dot":
        polynomials = 4 if step.degree == 2 else 6
        pairs = len(node.operands) // 2
        return pairs * polynomials * step.level * LIMB_PRODUCT_SECONDS / 2 * scale
    if node.op in ("input", "constant"):
        return 0.0
    passes = (step.degree + 1) * step.level * (len(node.operands) + 1) / 2
    encode = step.level * TRANSFORM_SECONDS if node.op in ("mask", "shift") else 0.0
    return (passes * LIMB_PASS_SECONDS + encode) * scale


def output_seconds(plan: CompiledPlan, parameters: Parameters) -> float:
    """Seconds that a segment's final products take."""
    limbs = plan.output_level * LIMB_PRODUCT_SECONDS * _scale(parameters)
    return sum(6 * limbs / 2 for a in plan.accumulators if a.right is not None)


def bytes_read(plan: CompiledPlan, parameters: Parameters) -> int:
    """Stored ciphertext bytes that one segment's inputs take at the levels they are read; after a
    change of key both polynomials are stored.
    """
    polynomials = 2 if plan.spec.rekeys else 1
    return polynomials * sum(
        len(slices) * sum(parameters.residue_bytes(level)) * parameters.slots
        for level, slices in plan.inputs.values()
    )


def download_bytes(plan: CompiledPlan, parameters: Parameters, segments: int) -> int:
    """Bytes of the result: packed masks and values, and accumulators as they are."""
    degrees = {step.index: step.degree for step in plan.steps}
    packs = sum(-(-segments // output.segments) for output in plan.packed)
    total = packs * 2 * sum(parameters.residue_bytes(0)) * parameters.slots
    for accumulator in plan.accumulators:
        degree = degrees[accumulator.left]
        degree += degrees[accumulator.right] if accumulator.right is not None else 0
        parts = -(-segments // accumulator.segments_max)
        limbs = sum(parameters.residue_bytes(plan.output_level))
        total += parts * ((degree + 1) * limbs * parameters.slots + _ENVELOPE_BYTES)
    return total


def _scale(parameters: Parameters) -> float:
    degree = parameters.ring_degree
    return degree * log2(degree) / (_REFERENCE_DEGREE * log2(_REFERENCE_DEGREE))
