"""Assignment 6: a gradient checker. Complete the functions; see README.md.

forward(inputs) -> y, and backward(inputs, dy) -> [dx, ...]: inputs is a list of arrays, y and dy are arrays of
one shape, and there is a dx for each input, of its shape.
"""

import numpy as np

CUBE_ROOT = float(np.finfo(np.float64).eps) ** (1 / 3)  # 6.06e-6
STEP = 1e-5  # for inputs of about 1
TOLERANCE = 1e-5  # of the verdict


def moved(inputs, position, index, h):
    """New inputs in which one entry is larger by h: inputs[position][index], index being a tuple."""
    inputs = [np.array(x, np.float64) for x in inputs]
    inputs[position][index] += h
    return inputs


def derivative(f, x):
    """The slopes of a function of one number, at every entry of x.

    f: float64 array (n,) -> float64 array (n,), computed entry by entry. x: array (n,), float64, float32 or
    integers. The step for an entry is CUBE_ROOT times its absolute value, and CUBE_ROOT where it is 0.
    Returns float64 (n,): central differences.
    """
    raise NotImplementedError("this part is yours")


def vector_jacobian(forward, inputs, dy):
    """The gradients of <dy, forward(inputs)> by central differences, every entry of every input, step STEP.

    forward: list of float64 arrays -> float64 array of the shape of dy. inputs: list of float64 or float32 arrays
    of any shapes, also (). dy: float64. Returns a list of float64 arrays of the inputs' shapes.
    """
    raise NotImplementedError("this part is yours")


def worst_error(analytic, numeric):
    """The largest relative error of gradients.

    analytic, numeric: lists, one array of floats for each input; in analytic an entry may also be None.
    The error of one input is max |a - n| / max(max |a|, max |n|), and 0 if all a and n are 0. It is infinite if a
    is None or of another shape than n, and if any a or n is NaN or infinite.
    Returns the largest of these errors, a float; infinity if the lists are not equally long.
    """
    raise NotImplementedError("this part is yours")


def check(forward, backward, inputs, seed):
    """Whether a backward is right at these inputs: True or False.

    forward, backward: as above; backward may return anything that is wrong: other values, other shapes, too few
    gradients or None in place of one, NaN. It always returns a list or a tuple, never None as a whole.
    inputs: list of float64 arrays. seed: of the random cotangents.
    A right backward gives J^T dy for every dy, whenever it is called.
    """
    raise NotImplementedError("this part is yours")
