"""Vectors of neighbouring numbers for numba: what a processor's vector instructions work on, written as arithmetic.

numba has no type for them, and leaves it to the compiler to find loops that can be turned into vector instructions;
with a dozen arrays in a loop, which for all that the compiler knows overlap, it finds few. Here a value of 64 bytes,
16 numbers in single or 8 in double precision, is a type of its own, `Lanes`, with ``+ - * /``, and the compiler
breaks it down to what the processor has (AVX-512, AVX2, SSE, NEON).

Offsets count numbers from the beginning of a contiguous array of any shape; nothing checks them. numba keeps compiled
kernels until the file that they stand in changes: after a change here, touch the files that use it.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Callable
from typing import Any

import numba
import numpy as np
from llvmlite import ir
from numba import types
from numba.extending import intrinsic, models, overload, register_model

BYTES = 64
# Products and sums may be done in one instruction; nothing else is rearranged, NaN and infinity keep their meaning.
_FUSED = ("contract",)


class Lanes(types.Type):  # type: ignore[misc]
    """Neighbouring numbers in one value.

    Parameters
    ----------
    dtype : numba type
        float32 or float64.
    """

    def __init__(self, dtype: Any) -> None:
        self.dtype = dtype
        self.count = BYTES * 8 // dtype.bitwidth
        super().__init__(name=f"Lanes({dtype} x {self.count})")


@register_model(Lanes)
class _LanesModel(models.PrimitiveModel):  # type: ignore[misc]
    """Lanes are vectors of LLVM."""

    def __init__(self, manager: Any, kind: Lanes) -> None:
        super().__init__(manager, kind, _vector(kind))


def _vector(kind: Lanes) -> Any:
    """LLVM's type of lanes."""
    return ir.VectorType(ir.FloatType() if kind.dtype == types.float32 else ir.DoubleType(), kind.count)


def _same(kind: Lanes, number: float) -> Any:
    """Constant with the same number in all lanes."""
    return ir.Constant(_vector(kind), [number] * kind.count)


def _spread(builder: Any, number: Any, kind: Lanes) -> Any:
    """Put a number into all lanes."""
    alone = builder.insert_element(ir.Constant(_vector(kind), ir.Undefined), number, ir.IntType(32)(0))
    places = ir.Constant(ir.VectorType(ir.IntType(32), kind.count), [0] * kind.count)
    return builder.shuffle_vector(alone, ir.Constant(_vector(kind), ir.Undefined), places)


def _fused(builder: Any, a: Any, b: Any, c: Any) -> Any:
    """Multiply and add: a b + c."""
    return builder.fadd(builder.fmul(a, b, flags=_FUSED), c, flags=_FUSED)


def _place(context: Any, builder: Any, array_type: Any, array: Any, offset: Any) -> Any:
    """Address of an array's number."""
    return builder.gep(context.make_array(array_type)(context, builder, array).data, [offset])


@intrinsic  # type: ignore[untyped-decorator]
def load(typingctx: Any, array: Any, offset: Any) -> Any:
    """Lanes from an array, beginning at an offset."""
    kind = Lanes(array.dtype)

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        place = _place(context, builder, array, *arguments)
        return builder.load(builder.bitcast(place, _vector(kind).as_pointer()), align=array.dtype.bitwidth // 8)

    return kind(array, types.intp), generate


@intrinsic  # type: ignore[untyped-decorator]
def store(typingctx: Any, array: Any, offset: Any, value: Any) -> Any:
    """Write lanes into an array, beginning at an offset."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        place = _place(context, builder, array, *arguments[:2])
        builder.store(
            arguments[2], builder.bitcast(place, _vector(value).as_pointer()), align=array.dtype.bitwidth // 8
        )
        return context.get_dummy_value()

    return types.none(array, types.intp, value), generate


@intrinsic  # type: ignore[untyped-decorator]
def spread(typingctx: Any, array: Any, offset: Any) -> Any:
    """One number of an array in all lanes."""
    kind = Lanes(array.dtype)

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return _spread(builder, builder.load(_place(context, builder, array, *arguments)), kind)

    return kind(array, types.intp), generate


@intrinsic  # type: ignore[untyped-decorator]
def zeros(typingctx: Any, array: Any) -> Any:
    """Lanes of zeros, in the type of an array."""
    kind = Lanes(array.dtype)
    return kind(array), lambda context, builder, signature, arguments: _same(kind, 0.0)


@intrinsic  # type: ignore[untyped-decorator]
def with_lane(typingctx: Any, value: Any, lane: Any, number: Any) -> Any:
    """Lanes with one number replaced."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.insert_element(arguments[0], arguments[2], arguments[1])

    return value(value, types.intp, value.dtype), generate


@intrinsic  # type: ignore[untyped-decorator]
def lane(typingctx: Any, value: Any, number: Any) -> Any:
    """One number of lanes."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.extract_element(*arguments)

    return value.dtype(value, types.intp), generate


@intrinsic  # type: ignore[untyped-decorator]
def total(typingctx: Any, value: Any) -> Any:
    """Sum of all lanes, halves first; the order is fixed."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        (part,) = arguments
        half = value.count // 2
        whole = ir.IntType(32)
        while half:
            places = [ir.Constant(ir.VectorType(whole, half), list(range(a, a + half))) for a in (0, half)]
            part = builder.fadd(*(builder.shuffle_vector(part, part, each) for each in places))
            half //= 2
        return builder.extract_element(part, whole(0))

    return value.dtype(value), generate


@intrinsic  # type: ignore[untyped-decorator]
def exp(typingctx: Any, value: Any) -> Any:
    """Exponential without a branch or a library call; relative error 1e-7 in single, 2e-16 in double precision.

    x = k ln 2 + r with a whole k; the series of exp(r), |r| <= ln(2) / 2; times 2^k, by adding to the exponent.
    """
    single = value.dtype == types.float32
    # Bits of the mantissa; where the result would leave the range; ln 2 in two pieces (Cody and Waite); terms.
    mantissa, lowest, highest, high, low, terms = (
        (23, -87.0, 88.0, 0.693359375, -2.12194440e-4, 6)
        if single
        else (52, -708.0, 709.0, 6.93145751953125e-1, 1.42860682030941723212e-6, 13)
    )

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        def same(number: float) -> Any:
            return _same(value, number)

        (x,) = arguments
        # A NaN passes both comparisons.
        for sign, bound in (("<", lowest), (">", highest)):
            x = builder.select(builder.fcmp_ordered(sign, x, same(bound)), same(bound), x)
        # Adding 1.5 x 2^mantissa rounds to a whole number and leaves it in the low bits.
        magic = same(1.5 * 2.0**mantissa)
        shifted = _fused(builder, x, same(1.0 / math.log(2.0)), magic)
        whole = builder.fsub(shifted, magic)
        r = _fused(builder, whole, same(-high), x)
        r = _fused(builder, whole, same(-low), r)
        series = same(1.0 / math.factorial(terms))
        for k in reversed(range(terms)):
            series = _fused(builder, series, r, same(1.0 / math.factorial(k)))
        integers = ir.VectorType(ir.IntType(value.dtype.bitwidth), value.count)
        power = builder.shl(builder.bitcast(shifted, integers), ir.Constant(integers, [mantissa] * value.count))
        return builder.bitcast(builder.add(builder.bitcast(series, integers), power), _vector(value))

    return value(value), generate


@intrinsic  # type: ignore[untyped-decorator]
def log1p(typingctx: Any, value: Any) -> Any:
    """log(1 + x) for 0 <= x <= 1, as 2 atanh(x / (2 + x)): a series in q = (x / (2 + x))^2 <= 1 / 9."""
    terms = 8 if value.dtype == types.float32 else 17

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        (x,) = arguments
        s = builder.fdiv(x, builder.fadd(x, _same(value, 2.0)))
        q = builder.fmul(s, s)
        series = _same(value, 1.0 / (2 * terms - 1))
        for k in reversed(range(terms - 1)):
            series = _fused(builder, series, q, _same(value, 1.0 / (2 * k + 1)))
        return builder.fmul(builder.fadd(s, s), series)

    return value(value), generate


@intrinsic  # type: ignore[untyped-decorator]
def larger(typingctx: Any, value: Any, other: Any) -> Any:
    """Take the larger of two numbers in each lane; the second where one is NaN."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.select(builder.fcmp_ordered(">", *arguments), *arguments)

    return value(value, value), generate


def _arithmetic(instruction: str) -> Callable[..., Any]:
    """Return an operation on lanes, or on lanes and a number, as an intrinsic of numba."""

    @intrinsic  # type: ignore[untyped-decorator]
    def operation(typingctx: Any, a: Any, b: Any) -> Any:
        kind = a if isinstance(a, Lanes) else b

        def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            both = [
                value if isinstance(each, Lanes)
                else _spread(builder, context.cast(builder, value, each, kind.dtype), kind)
                for value, each in zip(arguments, (a, b), strict=True)
            ]  # fmt: skip
            return getattr(builder, instruction)(*both, flags=_FUSED)

        return kind(a, b), generate

    return operation  # type: ignore[no-any-return]


def _define(operator_: Callable[..., Any], instruction: str) -> None:
    """Give lanes one of Python's operators."""
    operation = _arithmetic(instruction)

    # numba compares the names and annotations of an overload with those of its implementations: there can be none.
    @overload(operator_, inline="always")
    def of_lanes(a, b):  # type: ignore[no-untyped-def]
        return (lambda a, b: operation(a, b)) if isinstance(a, Lanes) or isinstance(b, Lanes) else None


for _operator, _instruction in (
    (operator.add, "fadd"), (operator.sub, "fsub"), (operator.mul, "fmul"), (operator.truediv, "fdiv")
):  # fmt: skip
    _define(_operator, _instruction)


def compiled(function: Callable[..., Any]) -> Callable[..., Any]:
    """Compile with numba, keep the result on disk where that is possible, and release the interpreter lock."""
    try:
        return numba.njit(cache=True, nogil=True, error_model="numpy")(function)  # type: ignore[no-any-return]
    except RuntimeError:
        # Neither the package's folder nor the home can be written: compile anew in each process.
        return numba.njit(nogil=True, error_model="numpy")(function)  # type: ignore[no-any-return]


@compiled
def room(count: int, like: Any) -> Any:
    """Room for `count` numbers of an array's type, laid so that lanes do not lie across two lines of the cache."""
    space = np.empty(count + BYTES // like.itemsize, like.dtype)
    skipped = (-space.ctypes.data % BYTES) // like.itemsize
    return space[skipped : skipped + count]


@compiled
def fetch(array: Any, offset: int, width: int) -> Any:
    """Take `width` neighbouring numbers of an array; zeros fill up the lanes."""
    if width * array.itemsize == BYTES:
        return load(array, offset)
    value = zeros(array)
    for i in range(width):
        value = with_lane(value, i, array.flat[offset + i])
    return value


@compiled
def put(array: Any, offset: int, width: int, value: Any) -> None:
    """Write the first `width` lanes into an array."""
    if width * array.itemsize == BYTES:
        store(array, offset, value)
    else:
        for i in range(width):
            array.flat[offset + i] = lane(value, i)
