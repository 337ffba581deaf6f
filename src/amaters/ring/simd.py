"""A vector of four doubles as a Numba type, and the few operations the kernels need.

LLVM's loop vectoriser leaves the last stages of a transform scalar and keeps too few products in
flight; with explicit vectors the source decides. Every arithmetic operation here accepts
``float64`` scalars as well, so the modular arithmetic built on it is written once. On machines
without 256-bit registers LLVM splits the vectors.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from llvmlite import ir
from numba.core import cgutils, types
from numba.core.datamodel.models import PrimitiveModel
from numba.extending import intrinsic, register_model

LANES = 4
Typer = TypeVar("Typer", bound=Callable[..., Any])
_VECTOR = ir.VectorType(ir.DoubleType(), LANES)
_INDEX = ir.IntType(32)


class Float64x4(types.Type):
    """The Numba type of a vector; exists only inside compiled functions."""

    def __init__(self) -> None:
        super().__init__(name="float64x4")


VECTOR = Float64x4()


@register_model(Float64x4)
class _Float64x4Model(PrimitiveModel):  # type: ignore[misc]
    def __init__(self, manager: Any, kind: Any) -> None:
        super().__init__(manager, kind, _VECTOR)


def _intrinsic(typer: Typer) -> Any:
    return intrinsic(typer)


def _numeric(kind: Any) -> bool:
    return bool(kind in (VECTOR, types.float64))


def _address(context: Any, builder: Any, kind: Any, array: Any, index: Any) -> Any:
    data = context.make_array(kind)(context, builder, array).data
    return builder.bitcast(builder.gep(data, [index]), _VECTOR.as_pointer())


@_intrinsic
def load(_typing: Any, array: Any, index: Any) -> Any:
    """Four consecutive doubles of a C-contiguous array, from flat position ``index``; unchecked."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return builder.load(
            _address(context, builder, signature.args[0], args[0], args[1]), align=8
        )

    return VECTOR(array, types.intp), generate


@_intrinsic
def load_from(_typing: Any, address: Any, index: Any) -> Any:
    """Four consecutive doubles at position ``index`` of the array that starts at ``address``."""

    def generate(_context: Any, builder: Any, _signature: Any, args: Any) -> Any:
        data = builder.inttoptr(args[0], ir.DoubleType().as_pointer())
        vector = builder.bitcast(builder.gep(data, [args[1]]), _VECTOR.as_pointer())
        return builder.load(vector, align=8)

    return VECTOR(types.int64, types.intp), generate


@_intrinsic
def store(_typing: Any, array: Any, index: Any, value: Any) -> Any:
    """Writes four doubles at flat position ``index`` of a C-contiguous array; unchecked."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        address = _address(context, builder, signature.args[0], args[0], args[1])
        builder.store(args[2], address, align=8)
        return context.get_dummy_value()

    return types.void(array, types.intp, VECTOR), generate


@_intrinsic
def splat(_typing: Any, value: Any) -> Any:
    """The vector with ``value`` in every lane."""

    def generate(_context: Any, builder: Any, _signature: Any, args: Any) -> Any:
        empty = ir.Constant(_VECTOR, ir.Undefined)
        one = builder.insert_element(empty, args[0], ir.Constant(_INDEX, 0))
        return builder.shuffle_vector(one, empty, _mask([0] * LANES))

    return VECTOR(types.float64), generate


def _mask(lanes: list[int]) -> Any:
    return ir.Constant(ir.VectorType(_INDEX, LANES), lanes)


def _binary(operation: str) -> Any:
    def typer(_typing: Any, a: Any, b: Any) -> Any:
        if not (_numeric(a) and a == b):
            return None

        def generate(_context: Any, builder: Any, _signature: Any, args: Any) -> Any:
            return getattr(builder, operation)(args[0], args[1])

        return a(a, a), generate

    return _intrinsic(typer)


add = _binary("fadd")
sub = _binary("fsub")
mul = _binary("fmul")


@_intrinsic
def fma(_typing: Any, a: Any, b: Any, c: Any) -> Any:
    """a b + c with one rounding (``llvm.fma``; hardware where there is any)."""
    if not (_numeric(a) and a == b == c):
        return None

    def generate(_context: Any, builder: Any, _signature: Any, args: Any) -> Any:
        return builder.call(_fma(builder, a), args)

    return a(a, a, a), generate


@_intrinsic
def fms(_typing: Any, a: Any, b: Any, c: Any) -> Any:
    """a b - c with one rounding."""
    if not (_numeric(a) and a == b == c):
        return None

    def generate(_context: Any, builder: Any, _signature: Any, args: Any) -> Any:
        return builder.call(_fma(builder, a), [args[0], args[1], builder.fneg(args[2])])

    return a(a, a, a), generate


@_intrinsic
def fnma(_typing: Any, a: Any, b: Any, c: Any) -> Any:
    """c - a b with one rounding."""
    if not (_numeric(a) and a == b == c):
        return None

    def generate(_context: Any, builder: Any, _signature: Any, args: Any) -> Any:
        return builder.call(_fma(builder, a), [builder.fneg(args[0]), args[1], args[2]])

    return a(a, a, a), generate


def _fma(builder: Any, kind: Any) -> Any:
    value, name = (_VECTOR, "v4f64") if kind == VECTOR else (ir.DoubleType(), "f64")
    return cgutils.get_or_insert_function(
        builder.module, ir.FunctionType(value, [value] * 3), f"llvm.fma.{name}"
    )


def _shuffle(lanes: list[int]) -> Any:
    def typer(_typing: Any, a: Any, b: Any) -> Any:
        def generate(_context: Any, builder: Any, _signature: Any, args: Any) -> Any:
            return builder.shuffle_vector(args[0], args[1], _mask(lanes))

        return VECTOR(VECTOR, VECTOR), generate

    return _intrinsic(typer)


even = _shuffle([0, 4, 2, 6])
odd = _shuffle([1, 5, 3, 7])
low = _shuffle([0, 1, 4, 5])
high = _shuffle([2, 3, 6, 7])
