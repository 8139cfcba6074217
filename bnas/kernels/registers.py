"""Tuples of vectors, which unlike arrays stay in registers: a vector that is loaded serves several products.

Neighbouring outputs of a window read mostly the same pixels. A loop over taps loads each of them again for
every tap, and then waits for loads, not for multiplications. With `slide` and `slide_sums` a few outputs and
one row of taps are one step, unrolled when it is compiled, in which every pixel is loaded once. The others are
the steps of a product of matrices, for any number of vectors. Sums are accumulated in the order of the plain
loop, so the results have the same bits.

`vectors` says what a vector is.
"""

from llvmlite import ir
from numba.core import types
from numba.extending import intrinsic

from bnas.kernels.vectors import Vector, call, is_flat, pointer, spread, type_name


def literal(number):
    return number.literal_value if isinstance(number, types.IntegerLiteral) else None


def address_of(context, builder, array_type, array, index, distance, vector, k):
    """The address of the vector array[index + k distance]."""
    at = builder.add(index, builder.mul(distance, ir.Constant(distance.type, k)))
    return pointer(context, builder, array_type, array, at, vector)


def _loader(context, builder, array_type, array, index, distance, vector):
    """A function of k that gives the vector array[index + k distance], loading each only once."""
    loaded, where = {}, (array_type, array, index, distance, vector)

    def load(k):
        if k not in loaded:
            address = address_of(context, builder, *where, k)
            loaded[k] = builder.load(address, align=vector.lane.bitwidth // 8)
        return loaded[k]

    return load


def _fused(builder, vector, x, y, z):
    """x y + z, rounded once."""
    return call(builder, f"llvm.fma.{type_name(vector)}", z.type, [x, y, z])


def same_number(context, builder, array_type, array, index, like):
    """array[index] in every lane of a vector of the type of `like`."""
    address = pointer(context, builder, array_type, array, index, Vector(array_type.dtype, 1))
    number = builder.load(builder.bitcast(address, like.type.element.as_pointer()))
    return spread(builder, number, like.type)


def _unpack(builder, tuple_):
    return [builder.extract_value(tuple_, i) for i in range(tuple_.type.count)]


def _pack(builder, tuple_, values):
    for i, value in enumerate(values):
        tuple_ = builder.insert_value(tuple_, value, i)
    return tuple_


@intrinsic(prefer_literal=True)
def slide(typingctx, planes, at, distance, weights, first, totals, taps):
    """totals[p] + Σ_t weights[first + t] planes[at + (p + t) distance], a tuple as `totals` is.

    taps: a literal. distance: elements from one output to the next, and from one tap to the next.
    """
    count = literal(taps)
    if count is None or not (is_flat(planes) and is_flat(weights)):
        return None
    vector = Vector(planes.dtype)

    def codegen(context, builder, sig, args):
        planes, at, distance, weights, first, totals, _ = args
        pixel = _loader(context, builder, sig.args[0], planes, at, distance, vector)
        sums = _unpack(builder, totals)
        for t in range(count):
            place = builder.add(first, ir.Constant(first.type, t))
            w = same_number(context, builder, sig.args[3], weights, place, sums[0])
            sums = [_fused(builder, vector, pixel(p + t), w, s) for p, s in enumerate(sums)]
        return _pack(builder, totals, sums)

    return totals(planes, types.intp, types.intp, weights, types.intp, totals, taps), codegen


@intrinsic(prefer_literal=True)
def slide_sums(typingctx, planes, at, gradient, first, totals, outputs, dilation):
    """totals[t] + Σ_p gradient[first + p] planes[at + p + t dilation], in vectors; a tuple as `totals` is.

    outputs and dilation: literals.
    """
    count, apart = literal(outputs), literal(dilation)
    if count is None or apart is None or not (is_flat(planes) and is_flat(gradient)):
        return None
    vector = Vector(planes.dtype)

    def codegen(context, builder, sig, args):
        planes, at, gradient, first, totals, *_ = args
        next_one = ir.Constant(at.type, vector.lanes)
        pixel = _loader(context, builder, sig.args[0], planes, at, next_one, vector)
        dy = _loader(context, builder, sig.args[2], gradient, first, next_one, vector)
        sums = _unpack(builder, totals)
        for p in range(count):
            sums = [
                _fused(builder, vector, dy(p), pixel(p + t * apart), s) for t, s in enumerate(sums)
            ]
        return _pack(builder, totals, sums)

    arguments = planes, types.intp, gradient, types.intp, totals, outputs, dilation
    return totals(*arguments), codegen


@intrinsic
def load_all(typingctx, array, at, distance, like):
    """As many vectors as the tuple `like` has, array[at + k distance]."""
    if not is_flat(array):
        return None
    vector = like[0]

    def codegen(context, builder, sig, args):
        array, at, distance, like = args
        load = _loader(context, builder, sig.args[0], array, at, distance, vector)
        return _pack(builder, like, [load(k) for k in range(len(sig.args[3]))])

    return like(array, types.intp, types.intp, like), codegen


@intrinsic
def store_all(typingctx, array, at, distance, vectors):
    """array[at + k distance] = vectors[k]."""
    if not is_flat(array):
        return None
    vector = vectors[0]

    def codegen(context, builder, sig, args):
        for k, value in enumerate(_unpack(builder, args[3])):
            address = address_of(context, builder, sig.args[0], *args[:3], vector, k)
            builder.store(value, address, align=vector.lane.bitwidth // 8)
        return context.get_dummy_value()

    return types.void(array, types.intp, types.intp, vectors), codegen


@intrinsic
def add_all(typingctx, array, at, distance, vectors):
    """array[at + k distance] += vectors[k], float32 also to an array of float64."""
    if not is_flat(array):
        return None
    vector = Vector(array.dtype, vectors[0].lanes)

    def codegen(context, builder, sig, args):
        align = vector.lane.bitwidth // 8
        for k, value in enumerate(_unpack(builder, args[3])):
            if vector != vectors[0]:
                value = builder.fpext(value, context.get_value_type(vector))
            address = address_of(context, builder, sig.args[0], *args[:3], vector, k)
            total = builder.fadd(builder.load(address, align=align), value)
            builder.store(total, address, align=align)
        return context.get_dummy_value()

    return types.void(array, types.intp, types.intp, vectors), codegen


@intrinsic
def add_multiples(typingctx, x, vectors, totals):
    """totals[k] + x vectors[k], a tuple as `totals` is."""

    def codegen(context, builder, sig, args):
        x, vectors, totals = args[0], *(_unpack(builder, part) for part in args[1:])
        sums = [_fused(builder, sig.args[0], x, y, z) for y, z in zip(vectors, totals)]
        return _pack(builder, args[2], sums)

    return totals(x, vectors, totals), codegen


@intrinsic
def add_weighted(typingctx, x, weights, at, distance, totals):
    """totals[k] + x weights[at + k distance], a tuple as `totals` is."""
    if not is_flat(weights):
        return None

    def codegen(context, builder, sig, args):
        x, weights, at, distance, totals = args
        sums = []
        for k, total in enumerate(_unpack(builder, totals)):
            index = builder.add(at, builder.mul(distance, ir.Constant(distance.type, k)))
            w = same_number(context, builder, sig.args[1], weights, index, x)
            sums.append(_fused(builder, sig.args[0], x, w, total))
        return _pack(builder, totals, sums)

    return totals(x, weights, types.intp, types.intp, totals), codegen


@intrinsic
def multiply_all(typingctx, vectors, factors, at):
    """vectors[k] factors[at + k], a tuple as `vectors` is."""
    if not is_flat(factors):
        return None

    def codegen(context, builder, sig, args):
        vectors, factors, at = args
        products = []
        for k, x in enumerate(_unpack(builder, vectors)):
            index = builder.add(at, ir.Constant(at.type, k))
            factor = same_number(context, builder, sig.args[1], factors, index, x)
            products.append(builder.fmul(x, factor))
        return _pack(builder, vectors, products)

    return vectors(vectors, factors, types.intp), codegen


@intrinsic
def add_moments(typingctx, vectors, centres, totals, squares):
    """(totals + d, squares + d²) for d = vectors - centres, all tuples of as many vectors; squares are float64."""

    def codegen(context, builder, sig, args):
        vectors, centres, sums, spreads = (_unpack(builder, part) for part in args)
        away = [builder.fsub(x, middle) for x, middle in zip(vectors, centres)]
        sums = [builder.fadd(total, d) for total, d in zip(sums, away)]
        if sig.args[0] != sig.args[3]:
            away = [builder.fpext(d, s.type) for d, s in zip(away, spreads)]
        spreads = [_fused(builder, sig.args[3][0], d, d, s) for d, s in zip(away, spreads)]
        parts = _pack(builder, args[2], sums), _pack(builder, args[3], spreads)
        return context.make_tuple(builder, sig.return_type, parts)

    return types.Tuple((totals, squares))(vectors, centres, totals, squares), codegen
