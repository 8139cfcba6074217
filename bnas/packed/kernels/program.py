"""All kernel calls of a plan as one call.

Between two of them there is no Python, which would take as long as the smaller ones do, and whose lock the threads
would take in turns.

A program is an array of int64. Each call is the number of its kernel and then its arguments: an integer as it
is, the bits of a float32, the address and the shape of an array, the fields of a tuple one after another.
SIGNATURES says of what types they are. Whoever makes a program keeps its arrays alive and where they are.
"""

from itertools import count

import numpy as np
from llvmlite import ir
from numba import types
from numba.extending import intrinsic
from numba.np.arrayobj import make_array, populate_array

from bnas.kernels.jit import jit
from bnas.kernels.sites import Sites
from bnas.packed.kernels.bits import conv_to_bits, conv_to_floats, depthwise_to_bits, pack_panels
from bnas.packed.kernels.floats import (
    affine,
    classify,
    mean_pool,
    pick_conv,
    pointwise,
    pool,
    scale_panels,
    spread_panels,
    whole_conv,
    window_conv,
)


def _array(dtype, axes=1):
    return types.Array(dtype, axes, "C")


_TYPES = {
    "i": types.int64,
    "f": types.float32,
    "F": _array(types.float32),
    "G": _array(types.float32, 2),
    "D": _array(types.float64),
    "I": _array(types.int64),
    "J": _array(types.int64, 2),
    "K": _array(types.int64, 3),
    "n": _array(types.int32),
    "N": _array(types.int32, 3),
    "W": _array(types.uint64),
    "V": _array(types.uint64, 3),
}
_TYPES["A"] = types.UniTuple(_TYPES["F"], 3)
_TYPES["P"] = types.Tuple([_TYPES["W"], _TYPES["n"]])
_TYPES["S"] = types.NamedTuple([_TYPES[c] for c in "iiIIJInJ"] + [_array(types.boolean, 2)], Sites)

# For each kernel, whose number is its place here, the types of its arguments.
SIGNATURES = {
    pointwise: "FiiifFFFiFii",
    pool: "FiJIiJiFFFFiiF",
    conv_to_floats: "WSIInNAFiiiPn",
    depthwise_to_bits: "WSWJWVWWiIWIW",
    conv_to_bits: "WSIInNWWiIPnW",
    pack_panels: "FiiiIiWW",
    scale_panels: "FiiFFiFiii",
    pick_conv: "FiKiifFFFFiiF",
    window_conv: "FSIfFFFFiiF",
    spread_panels: "FiiJiF",
    affine: "FiiFFFiFii",
    mean_pool: "FiJSFFFFiiF",
    whole_conv: "FiiiifFFFFiF",
    classify: "FiGFDF",
}
NUMBERS = {kernel: number for number, kernel in enumerate(SIGNATURES)}


def instruction(kernel, arguments):
    """The call kernel(*arguments) as a list of integers.

    Raises:
        TypeError: an argument is not what SIGNATURES says.
    """
    words, signature = [NUMBERS[kernel]], SIGNATURES[kernel]
    for argument, code in zip(arguments, signature, strict=True):
        words += _words(argument, _TYPES[code])
    return words


def _words(value, kind):
    if isinstance(kind, types.BaseTuple):
        return [word for pair in zip(value, kind.types, strict=True) for word in _words(*pair)]
    if isinstance(kind, types.Array):
        fits = value.dtype == str(kind.dtype) and value.ndim == kind.ndim
        if not (fits and value.flags.c_contiguous and value.flags.aligned):
            raise TypeError(f"an array {value.dtype} {value.shape} for a kernel that takes {kind}")
        return [value.ctypes.data, *value.shape]
    return [int(np.float32(value).view(np.int32)) if kind == types.float32 else int(value)]


@intrinsic
def _arguments(typingctx, kernel, program, at):
    """The arguments of a kernel that stand in a program from program[at] on, as a tuple."""
    signature = next(s for k, s in SIGNATURES.items() if k is kernel.dispatcher)
    result = types.Tuple([_TYPES[code] for code in signature])

    def codegen(context, builder, sig, args):
        data, place = make_array(sig.args[1])(context, builder, args[1]).data, args[2]
        addresses = (
            builder.gep(data, [builder.add(place, ir.Constant(place.type, i))]) for i in count()
        )

        def build(kind):
            if isinstance(kind, types.BaseTuple):
                return context.make_tuple(builder, kind, [build(part) for part in kind.types])
            word = builder.load(next(addresses))
            if isinstance(kind, types.Array):
                return _view(context, builder, kind, word, addresses)
            if kind == types.float32:
                return builder.bitcast(builder.trunc(word, ir.IntType(32)), ir.FloatType())
            return word

        return build(result)

    return result(kernel, program, at), codegen


def _view(context, builder, kind, address, sizes):
    """An array, contiguous, from its address and shape."""
    shape = [builder.load(next(sizes)) for _ in range(kind.ndim)]
    item = context.get_abi_sizeof(context.get_data_type(kind.dtype))
    step, strides = ir.Constant(address.type, item), []
    for size in reversed(shape):
        strides.insert(0, step)
        step = builder.mul(step, size)
    array = make_array(kind)(context, builder)
    populate_array(
        array,
        data=builder.inttoptr(address, context.get_data_type(kind.dtype).as_pointer()),
        shape=shape,
        strides=strides,
        itemsize=ir.Constant(address.type, item),
        meminfo=None,
    )
    return array._getvalue()


@jit(allocates=False)
def run(program, starts, first, end):
    """Make the calls of a program from number `first` to before `end`; call i begins at program[starts[i]]."""
    for i in range(first, end):
        number, at = program[starts[i]], starts[i] + 1
        if number == 0:
            pointwise(*_arguments(pointwise, program, at))
        elif number == 1:
            pool(*_arguments(pool, program, at))
        elif number == 2:
            conv_to_floats(*_arguments(conv_to_floats, program, at))
        elif number == 3:
            depthwise_to_bits(*_arguments(depthwise_to_bits, program, at))
        elif number == 4:
            conv_to_bits(*_arguments(conv_to_bits, program, at))
        elif number == 5:
            pack_panels(*_arguments(pack_panels, program, at))
        elif number == 6:
            scale_panels(*_arguments(scale_panels, program, at))
        elif number == 7:
            pick_conv(*_arguments(pick_conv, program, at))
        elif number == 8:
            window_conv(*_arguments(window_conv, program, at))
        elif number == 9:
            spread_panels(*_arguments(spread_panels, program, at))
        elif number == 10:
            affine(*_arguments(affine, program, at))
        elif number == 11:
            mean_pool(*_arguments(mean_pool, program, at))
        elif number == 12:
            whole_conv(*_arguments(whole_conv, program, at))
        elif number == 13:
            classify(*_arguments(classify, program, at))
        else:
            raise ValueError("no kernel has this number")
