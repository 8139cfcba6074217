"""Bit-sliced arithmetic: counts whose binary digits lie in words of their own, so that 512 are added at once.

A *slice* holds one binary digit of every count. A word has one bit for each of 16 images (8 of float64), and a
vector as many words as fit into 512 bits, of neighbouring pixels: 512 counts grow by one bit each in a few
logical instructions, where floats take 32 additions. Words are uint16 (uint8), and come in any alignment.

`vectors` says what a vector is. A tuple of vectors, the slice of the lowest digit first, stays in registers.
"""

from llvmlite import ir
from numba.core import types
from numba.extending import intrinsic

from bnas.kernels.registers import address_of, literal, same_number
from bnas.kernels.vectors import Vector, emit_carry, is_flat, pointer

WORDS = Vector(types.uint64)  # what the logical instructions see


def _load(context, builder, array_type, array, at, distance, k):
    """The words from array[at + k distance] on."""
    vector = Vector(array_type.dtype)
    address = address_of(context, builder, array_type, array, at, distance, vector, k)
    words = builder.load(address, align=vector.lane.bitwidth // 8)
    return builder.bitcast(words, context.get_value_type(WORDS))


def _added(context, builder, slices, bits):
    """The slices of counts to which `bits` are added, through full adders; carries beyond the last are lost."""
    result = []
    for digit in slices:
        bits, carries = [*bits, digit], []
        while len(bits) > 1:
            a, b, *bits = bits
            partial = builder.xor(a, b)
            if bits:
                c = bits.pop(0)
                total = builder.xor(partial, c)
                carries.append(emit_carry(context, builder, a, partial, total))
            else:
                total = partial
                carries.append(builder.and_(a, b))
            bits.append(total)
        result += bits
        bits = carries
    return result


@intrinsic(prefer_literal=True)
def tally(typingctx, slices, words, at, inside, place, distance, flips, first, taps):
    """Add one to the counts for each of so many taps whose bit, flipped or not, is 1; slices as they come.

    Tap t sees words[at + t distance], all bits flipped where flips[first + t] (uint64) is all ones. Of them
    count those that are also in inside[place + t distance], or all where `inside` is None. taps: a literal.
    """
    count = literal(taps)
    if count is None or not (is_flat(words) and is_flat(flips)):
        return None

    def codegen(context, builder, sig, args):
        slices, words, at, inside, place, distance, flips, first, _ = args
        bits = []
        for t in range(count):
            bit = _load(context, builder, sig.args[1], words, at, distance, t)
            which = builder.add(first, ir.Constant(first.type, t))
            flip = same_number(context, builder, sig.args[6], flips, which, bit)
            bit = builder.xor(bit, flip)
            if sig.args[3] != types.none:
                mask = _load(context, builder, sig.args[3], inside, place, distance, t)
                bit = builder.and_(bit, mask)
            bits.append(bit)
        digits = [builder.extract_value(slices, k) for k in range(len(sig.args[0]))]
        for k, digit in enumerate(_added(context, builder, digits, bits)):
            slices = builder.insert_value(slices, digit, k)
        return slices

    places = types.intp, inside, types.intp, types.intp
    return slices(slices, words, *places, flips, types.intp, taps), codegen


@intrinsic
def overflows(typingctx, slices, addends, at, distance):
    """Where the counts plus those of the slices addends[at + k distance] need one more digit: a vector of bits."""
    if not is_flat(addends):
        return None

    def codegen(context, builder, sig, args):
        slices, addends, at, distance = args
        over = None
        for k in range(len(sig.args[0])):
            digit = builder.extract_value(slices, k)
            other = _load(context, builder, sig.args[1], addends, at, distance, k)
            if over is None:
                over = builder.and_(digit, other)
            else:
                partial = builder.xor(digit, other)
                over = emit_carry(context, builder, digit, partial, builder.xor(partial, over))
        return over

    return WORDS(slices, addends, types.intp, types.intp), codegen


@intrinsic
def store_slices(typingctx, array, at, distance, slices):
    """array[at + k distance, ...] = slice k."""
    if not is_flat(array):
        return None

    def codegen(context, builder, sig, args):
        array, at, distance, slices = args
        vector = Vector(sig.args[0].dtype)
        for k in range(len(sig.args[3])):
            address = address_of(context, builder, sig.args[0], array, at, distance, vector, k)
            words = builder.extract_value(slices, k)
            words = builder.bitcast(words, context.get_value_type(vector))
            builder.store(words, address, align=vector.lane.bitwidth // 8)

    return types.void(array, types.intp, types.intp, slices), codegen


def _one_word(context, builder, array_type, array, index, lanes):
    """(the address of array[index], its type, its type as a vector of bits)."""
    if array_type.dtype.bitwidth != lanes:
        raise TypeError(f"a word of {array_type.dtype} does not hold {lanes} bits")
    address = pointer(context, builder, array_type, array, index, Vector(array_type.dtype, 1))
    word = ir.IntType(lanes)
    return builder.bitcast(address, word.as_pointer()), word, ir.VectorType(ir.IntType(1), lanes)


@intrinsic
def store_positive(typingctx, words, index, x):
    """words[index] = a bit for each lane of floats x, 1 where it is positive (0 for NaN)."""
    if not is_flat(words):
        return None

    def codegen(context, builder, sig, args):
        words, index, x = args
        lanes = sig.args[2].lanes
        address, word, _ = _one_word(context, builder, sig.args[0], words, index, lanes)
        positive = builder.fcmp_ordered(">", x, ir.Constant(x.type, [0.0] * lanes))
        builder.store(builder.bitcast(positive, word), address, align=lanes // 8)

    return types.void(words, types.intp, x), codegen


@intrinsic(prefer_literal=True)
def add_where(typingctx, words, at, distance, amount, total, digits):
    """total + c amount, lane by lane of floats, c the count whose slices are words[at + k distance].

    digits: how many slices, a literal.
    """
    count = literal(digits)
    if count is None or not is_flat(words):
        return None

    def codegen(context, builder, sig, args):
        words, at, distance, amount, total, _ = args
        lanes = sig.args[4].lanes
        for k in range(count):
            index = builder.add(at, builder.mul(distance, ir.Constant(distance.type, k)))
            address, _, bits = _one_word(context, builder, sig.args[0], words, index, lanes)
            mask = builder.bitcast(builder.load(address, align=lanes // 8), bits)
            total = builder.select(mask, builder.fadd(total, amount), total)
            amount = builder.fadd(amount, amount)
        return total

    return total(words, types.intp, types.intp, total, total, digits), codegen
