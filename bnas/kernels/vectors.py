"""Vectors of 512 bits inside Numba, in the words of LLVM.

Left to itself, LLVM turns a plain Numba loop into vector code where it dares to: not across array
accumulators, and on many processors with half the width. Here a vector is a value like any other: `load`
takes one from an array, `^ & | + - * /` work lane by lane, and a tile of them stays in registers.

    x = load(a, i) ^ broadcast(word)        # 8 words of 64 bits at a time
    total = total + popcount(x)

A vector has as many lanes as fit into 512 bits: 8 of uint64 or float64, 16 of int32 or float32.
Processors with narrower registers compute the same in two or four pieces: LLVM splits the vectors,
and scalar tricks stand in for a missing instruction (popcount), so every machine gives the same bits.

Each function below tells Numba the type of its result and emits a few instructions of LLVM's
intermediate language. Arrays have one axis and are contiguous. With NUMBA_BOUNDSCHECK=1 every load
and store is checked, otherwise none is.
"""

import operator

from llvmlite import ir
from numba.core import cgutils, config, types
from numba.core.datamodel import models, register_default
from numba.core.imputils import impl_ret_borrowed, lower_builtin
from numba.core.typing.templates import AbstractTemplate, infer_global, signature
from numba.extending import intrinsic
from numba.np.arrayobj import populate_array

BITS = 512


class Vector(types.Type):
    """`lanes` numbers of a Numba scalar type `lane`, side by side in one register."""

    def __init__(self, lane, lanes=None):
        self.lane, self.lanes = lane, lanes or BITS // lane.bitwidth
        super().__init__(f"Vector({lane} x {self.lanes})")


@register_default(Vector)
class _VectorModel(models.PrimitiveModel):
    def __init__(self, manager, vector):
        lane = manager.lookup(vector.lane).get_value_type()
        super().__init__(manager, vector, ir.VectorType(lane, vector.lanes))


def _is_float(vector):
    return isinstance(vector.lane, types.Float)


def _same(llvm_type, value):
    """The constant vector with `value` in every lane."""
    return ir.Constant(llvm_type, [value] * llvm_type.count)


def call(builder, name, result, arguments):
    """Call one of LLVM's own functions, such as llvm.ctpop.v8i64."""
    kind = ir.FunctionType(result, [a.type for a in arguments])
    return builder.call(cgutils.get_or_insert_function(builder.module, kind, name), arguments)


# ------------------------------------------------------------------------------------- operators


def _operator(symbol, on_integers, on_floats=None):
    """Let `symbol` work on two vectors of the same type, by the named LLVM instruction."""

    @infer_global(symbol)
    class Template(AbstractTemplate):
        def generic(self, args, kws):
            x, y = args
            if isinstance(x, Vector) and x == y and (on_floats if _is_float(x) else on_integers):
                return signature(x, x, x)

    @lower_builtin(symbol, Vector, Vector)
    def lower(context, builder, sig, args):
        name = on_floats if _is_float(sig.return_type) else on_integers
        return getattr(builder, name)(*args)


_operator(operator.xor, "xor")
_operator(operator.and_, "and_")
_operator(operator.or_, "or_")
_operator(operator.add, "add", "fadd")
_operator(operator.sub, "sub", "fsub")
_operator(operator.mul, "mul", "fmul")
_operator(operator.truediv, None, "fdiv")


# ------------------------------------------------------------------------------------- in and out


def pointer(context, builder, array_type, array, index, vector, count=None):
    """The address of array[index] as that of a vector, of which `count` lanes (all) will be used."""
    array = context.make_array(array_type)(context, builder, array)
    if config.BOUNDSCHECK:
        size = builder.extract_value(array.shape, 0)
        count = count or ir.Constant(index.type, vector.lanes)
        last = builder.sub(builder.add(index, count), ir.Constant(index.type, 1))
        with builder.if_then(builder.icmp_signed(">", count, ir.Constant(index.type, 0))):
            cgutils.do_boundscheck(context, builder, index, size)
            cgutils.do_boundscheck(context, builder, last, size)
    address = builder.gep(array.data, [index])
    return builder.bitcast(address, context.get_value_type(vector).as_pointer())


def is_flat(array):
    return isinstance(array, types.Array) and array.ndim == 1 and array.layout == "C"


@intrinsic
def ravel(typingctx, array):
    """reshape(-1) of a contiguous array, of which Numba makes hundreds of instructions."""
    if not isinstance(array, types.Array) or array.layout != "C":
        return None
    line = array.copy(ndim=1)

    def codegen(context, builder, sig, args):
        given = context.make_array(array)(context, builder, args[0])
        found = context.make_array(line)(context, builder)
        owner = {"meminfo": given.meminfo, "parent": given.parent}
        shape, strides = [given.nitems], [given.itemsize]
        populate_array(found, given.data, shape, strides, given.itemsize, **owner)
        return impl_ret_borrowed(context, builder, line, found._getvalue())

    return line(array), codegen


@intrinsic
def lane_count(typingctx, array):
    """How many elements of an array a vector has: a constant, which 64 // array.itemsize is not."""

    def codegen(context, builder, sig, args):
        return context.get_constant(types.intp, Vector(array.dtype).lanes)

    return types.intp(array), codegen


@intrinsic
def load(typingctx, array, index):
    """The vector array[index], array[index + 1], ..."""
    if not is_flat(array):
        return None
    vector = Vector(array.dtype)

    def codegen(context, builder, sig, args):
        address = pointer(context, builder, sig.args[0], *args, vector)
        return builder.load(address, align=array.dtype.bitwidth // 8)

    return vector(array, types.intp), codegen


@intrinsic
def element(typingctx, array, index):
    """array[index], without the instructions that let Python's negative indices count from the end."""
    if not is_flat(array):
        return None
    one = Vector(array.dtype, 1)

    def codegen(context, builder, sig, args):
        address = pointer(context, builder, sig.args[0], *args, one)
        address = builder.bitcast(address, context.get_value_type(array.dtype).as_pointer())
        return builder.load(address, align=array.dtype.bitwidth // 8)

    return array.dtype(array, types.intp), codegen


@intrinsic
def latest(typingctx, array, index):
    """array[index], int64, as other threads have left it: read from memory each time."""
    if not is_flat(array) or array.dtype != types.int64:
        return None

    def codegen(context, builder, sig, args):
        address = pointer(context, builder, sig.args[0], *args, Vector(types.int64, 1))
        address = builder.bitcast(address, context.get_value_type(types.int64).as_pointer())
        return builder.load_atomic(address, "acquire", 8)

    return types.int64(array, types.intp), codegen


@intrinsic
def store(typingctx, array, index, vector):
    """array[index], array[index + 1], ... = vector"""
    if not is_flat(array):
        return None

    def codegen(context, builder, sig, args):
        address = pointer(context, builder, sig.args[0], *args[:2], vector)
        builder.store(args[2], address, align=array.dtype.bitwidth // 8)

    return types.void(array, types.intp, vector), codegen


@intrinsic
def store_first(typingctx, array, index, vector, count):
    """As `store`, but only the first `count` lanes."""
    if not is_flat(array):
        return None

    def codegen(context, builder, sig, args):
        array, index, x, count = args
        address = pointer(context, builder, sig.args[0], array, index, vector, count)
        align = ir.Constant(ir.IntType(32), vector.lane.bitwidth // 8)
        arguments = [x, address, align, _first(builder, count, vector.lanes)]
        call(builder, f"llvm.masked.store.{type_name(vector)}.p0", ir.VoidType(), arguments)

    return types.void(array, types.intp, vector, types.intp), codegen


@intrinsic
def load_even(typingctx, array, index):
    """The vector array[index], array[index + 2], array[index + 4], ..., reading no further than that."""
    if not is_flat(array):
        return None
    vector = Vector(array.dtype)

    def codegen(context, builder, sig, args):
        return _load_even(context, builder, sig.args[0], *args, vector)

    return vector(array, types.intp), codegen


def _load_even(context, builder, array_type, array, index, vector):
    lanes, align = vector.lanes, vector.lane.bitwidth // 8
    later = builder.add(index, ir.Constant(index.type, lanes - 1))
    low = pointer(context, builder, array_type, array, index, vector)
    high = pointer(context, builder, array_type, array, later, vector)
    wanted = [*range(0, lanes, 2), *range(lanes + 1, 2 * lanes, 2)]
    wanted = ir.Constant(ir.VectorType(ir.IntType(32), lanes), wanted)
    low, high = (builder.load(address, align=align) for address in (low, high))
    return builder.shuffle_vector(low, high, wanted)


@intrinsic
def load_first(typingctx, array, index, count):
    """As `load`, but only the first `count` lanes; the others are 0."""
    if not is_flat(array):
        return None
    vector = Vector(array.dtype)

    def codegen(context, builder, sig, args):
        address = pointer(context, builder, sig.args[0], *args[:2], vector, args[2])
        return _masked_load(
            context, builder, vector, address, _first(builder, args[2], vector.lanes)
        )

    return vector(array, types.intp, types.intp), codegen


def _masked_load(context, builder, vector, address, mask):
    llvm_type = context.get_value_type(vector)
    align = ir.Constant(ir.IntType(32), vector.lane.bitwidth // 8)
    arguments = [address, align, mask, _same(llvm_type, 0.0 if _is_float(vector) else 0)]
    return call(builder, f"llvm.masked.load.{type_name(vector)}.p0", llvm_type, arguments)


def _first(builder, count, lanes):
    """The mask of the first `count` lanes."""
    numbers = ir.VectorType(ir.IntType(32), lanes)
    each = ir.Constant(numbers, list(range(lanes)))
    count = builder.trunc(count, numbers.element)
    return builder.icmp_signed("<", each, spread(builder, count, numbers))


def type_name(vector):
    """LLVM's name of a vector type, as in v16f32."""
    return f"v{vector.lanes}{'f' if _is_float(vector) else 'i'}{vector.lane.bitwidth}"


@intrinsic
def broadcast(typingctx, number):
    """The vector that has `number` in every lane."""
    vector = Vector(number)

    def codegen(context, builder, sig, args):
        llvm_type = context.get_value_type(vector)
        return spread(builder, args[0], llvm_type)

    return vector(number), codegen


def spread(builder, number, llvm_type):
    first = ir.Constant(ir.IntType(32), 0)
    one = builder.insert_element(ir.Constant(llvm_type, ir.Undefined), number, first)
    lanes = _same(ir.VectorType(ir.IntType(32), llvm_type.count), 0)
    return builder.shuffle_vector(one, ir.Constant(llvm_type, ir.Undefined), lanes)


@intrinsic
def sign_bits(typingctx, array, index, k):
    """Bit k of lane i is 1 where array[index + i] > 0, all else 0: 8 lanes of uint64, from floats."""
    if not is_flat(array):
        return None
    words, numbers = Vector(types.uint64), Vector(array.dtype, 8)

    def codegen(context, builder, sig, args):
        address = pointer(context, builder, sig.args[0], *args[:2], numbers)
        x = builder.load(address, align=array.dtype.bitwidth // 8)
        positive = builder.fcmp_ordered(">", x, _same(x.type, 0.0))
        llvm_type = context.get_value_type(words)
        bit = builder.shl(ir.Constant(ir.IntType(64), 1), args[2])
        return builder.select(positive, spread(builder, bit, llvm_type), _same(llvm_type, 0))

    return words(array, types.intp, types.uint64), codegen


@intrinsic
def magnitudes(typingctx, array, index):
    """|array[index + i]| in lane i: 8 lanes, from floats."""
    if not is_flat(array):
        return None
    numbers = Vector(array.dtype, 8)

    def codegen(context, builder, sig, args):
        address = pointer(context, builder, sig.args[0], *args, numbers)
        x = builder.load(address, align=array.dtype.bitwidth // 8)
        return call(builder, f"llvm.fabs.{type_name(numbers)}", x.type, [x])

    return numbers(array, types.intp), codegen


@intrinsic
def store_signs(typingctx, array, index, source, start, count):
    """array[index + i] = the sign of source[start + i], +1 or -1, for i < count; 0 up to i = 15.

    array int8 or int16; source float32 or float64; count at most 16.
    """
    if not (is_flat(array) and is_flat(source)):
        return None
    numbers, signs = Vector(source.dtype, 16), Vector(array.dtype, 16)

    def codegen(context, builder, sig, args):
        array, index, source, start, count = args
        mask = _first(builder, count, 16)
        address = pointer(context, builder, sig.args[2], source, start, numbers, count)
        x = _masked_load(context, builder, numbers, address, mask)
        sign_type = context.get_value_type(signs)
        positive = builder.fcmp_ordered(">", x, _same(x.type, 0.0))
        sign = builder.select(positive, _same(sign_type, 1), _same(sign_type, -1))
        sign = builder.select(mask, sign, _same(sign_type, 0))
        address = pointer(context, builder, sig.args[0], array, index, signs)
        builder.store(sign, address, align=signs.lane.bitwidth // 8)

    return types.void(array, types.intp, source, types.intp, types.intp), codegen


@intrinsic
def load_int32(typingctx, array, index):
    """16 neighbours in an array of smaller integers, widened to int32."""
    if not is_flat(array):
        return None
    vector, wide = Vector(array.dtype, 16), Vector(types.int32)

    def codegen(context, builder, sig, args):
        address = pointer(context, builder, sig.args[0], *args, vector)
        x = builder.load(address, align=vector.lane.bitwidth // 8)
        return builder.sext(x, context.get_value_type(wide))

    return wide(array, types.intp), codegen


@intrinsic
def load_even_int32(typingctx, array, index):
    """As `load_int32`, of every second number from array[index] on."""
    if not is_flat(array):
        return None
    vector, wide = Vector(array.dtype, 16), Vector(types.int32)

    def codegen(context, builder, sig, args):
        x = _load_even(context, builder, sig.args[0], *args, vector)
        return builder.sext(x, context.get_value_type(wide))

    return wide(array, types.intp), codegen


# ------------------------------------------------------------------------------- lane by lane


@intrinsic
def popcount(typingctx, x):
    """The number of ones in a uint64, or in every lane of a vector of them."""
    kind = f"v{x.lanes}i{x.lane.bitwidth}" if isinstance(x, Vector) else f"i{x.bitwidth}"

    def codegen(context, builder, sig, args):
        return call(builder, f"llvm.ctpop.{kind}", args[0].type, args)

    return x(x), codegen


@intrinsic
def bits_below(typingctx, a, b, k):
    """Bit k of each lane is 1 where a < b, all else 0: 16 lanes of int32 -> two vectors of uint64."""
    words = Vector(types.uint64)

    def codegen(context, builder, sig, args):
        a, b, k = args
        less, llvm_type = builder.icmp_signed("<", a, b), context.get_value_type(words)
        bit = spread(builder, builder.shl(ir.Constant(k.type, 1), k), llvm_type)
        halves = []
        for start in (0, 8):
            lanes = ir.Constant(ir.VectorType(ir.IntType(32), 8), list(range(start, start + 8)))
            half = builder.shuffle_vector(less, less, lanes)
            halves.append(builder.select(half, bit, _same(llvm_type, 0)))
        return context.make_tuple(builder, sig.return_type, halves)

    return types.UniTuple(words, 2)(a, b, types.uint64), codegen


@intrinsic
def carry(typingctx, ones, partial, total):
    """The carry of a full adder of three bits, bit by bit: ~total where partial is 1, else ones.

    partial = ones ^ a and total = partial ^ b are there anyway, so the majority of ones, a and b takes
    one more instruction, where a processor has one for any function of three bits (AVX-512).
    """

    def codegen(context, builder, sig, args):
        return emit_carry(context, builder, *args)

    return ones(ones, ones, ones), codegen


def emit_carry(context, builder, ones, partial, total):
    """The instructions of `carry`."""
    if "+avx512f" in context.codegen().magic_tuple()[2]:
        table = ir.Constant(ir.IntType(32), 0b01110100)  # of the bits (ones, partial, total)
        name = "llvm.x86.avx512.pternlog.q.512"
        return call(builder, name, ones.type, [ones, partial, total, table])
    differ = builder.xor(builder.xor(ones, total), _same(ones.type, -1))
    return builder.xor(ones, builder.and_(partial, differ))


@intrinsic
def multiply_add(typingctx, x, y, z):
    """x y + z in every lane of floats, rounded once."""

    def codegen(context, builder, sig, args):
        return call(builder, f"llvm.fma.v{x.lanes}f{x.lane.bitwidth}", args[0].type, args)

    return x(x, x, x), codegen


@intrinsic
def clamp(typingctx, x, floor):
    """x where it is not below the number `floor`, else floor; NaN stays. uint64 lanes pass as they are."""

    def codegen(context, builder, sig, args):
        if not _is_float(x):
            return args[0]
        floors = spread(builder, args[1], args[0].type)
        return builder.select(builder.fcmp_ordered("<", args[0], floors), floors, args[0])

    return x(x, floor), codegen


@intrinsic
def maximum(typingctx, x, y):
    """The larger of two floats in every lane; NaN where either is NaN."""

    def codegen(context, builder, sig, args):
        x, y = args
        keep = builder.or_(builder.fcmp_ordered(">", x, y), builder.fcmp_unordered("uno", x, x))
        return builder.select(keep, x, y)

    return x(x, x), codegen


@intrinsic
def larger(typingctx, x, y):
    """x where x > y, else y, in every lane of floats: one instruction, but only a NaN in y stays."""

    def codegen(context, builder, sig, args):
        return builder.select(builder.fcmp_ordered(">", *args), *args)

    return x(x, x), codegen


@intrinsic
def select_unordered(typingctx, a, b, yes, no):
    """In every lane: yes where a or b is NaN, else no."""

    def codegen(context, builder, sig, args):
        return builder.select(builder.fcmp_unordered("uno", *args[:2]), *args[2:])

    return yes(a, a, yes, yes), codegen


@intrinsic
def select_equal(typingctx, a, b, yes, no):
    """In every lane: yes where a == b, else no."""

    def codegen(context, builder, sig, args):
        equal = builder.fcmp_ordered if _is_float(a) else builder.icmp_unsigned
        return builder.select(equal("==", *args[:2]), *args[2:])

    return yes(a, a, yes, yes), codegen


@intrinsic
def select_greater(typingctx, a, b, yes, no):
    """In every lane of floats: yes where a > b, else no (no for NaN)."""

    def codegen(context, builder, sig, args):
        return builder.select(builder.fcmp_ordered(">", *args[:2]), *args[2:])

    return yes(a, a, yes, yes), codegen


@intrinsic
def lane_sum(typingctx, x):
    """The sum of all lanes of floats; halves are added to halves, in one order on every processor."""

    def codegen(context, builder, sig, args):
        (value,) = args
        while value.type.count > 1:
            half, index = value.type.count // 2, ir.IntType(32)
            parts = (
                ir.Constant(ir.VectorType(index, half), list(range(start, start + half)))
                for start in (0, half)
            )
            value = builder.fadd(*(builder.shuffle_vector(value, value, part) for part in parts))
        return builder.extract_element(value, ir.Constant(ir.IntType(32), 0))

    return x.lane(x), codegen


@intrinsic
def widen(typingctx, x):
    """A vector of floats as one of as many lanes of float64."""
    wide = Vector(types.float64, x.lanes)

    def codegen(context, builder, sig, args):
        return args[0] if x == wide else builder.fpext(args[0], context.get_value_type(wide))

    return wide(x), codegen


@intrinsic
def narrow(typingctx, a, b):
    """Two vectors of 8 uint64 as one of 16 int32: those of a, then those of b."""
    narrowed = Vector(types.int32)

    def codegen(context, builder, sig, args):
        half = ir.VectorType(ir.IntType(32), a.lanes)
        lanes = ir.Constant(ir.VectorType(ir.IntType(32), 2 * a.lanes), list(range(2 * a.lanes)))
        return builder.shuffle_vector(*(builder.trunc(x, half) for x in args), lanes)

    return narrowed(a, b), codegen


@intrinsic
def scaled_like(typingctx, array, x, scale):
    """int32 lanes as `array` wants them: as they are if it is int32; if float32, times `scale`.

    The conversion is exact up to 2²⁴, so that only the product rounds.
    """
    wanted = Vector(array.dtype)

    def codegen(context, builder, sig, args):
        if not _is_float(wanted):
            return args[1]
        llvm_type = context.get_value_type(wanted)
        return builder.fmul(builder.sitofp(args[1], llvm_type), spread(builder, args[2], llvm_type))

    return wanted(array, x, scale), codegen
