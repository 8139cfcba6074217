# ---
# jupyter:
#   jupytext:
#     text_representation:
#       extension: .py
#       format_name: percent
#   kernelspec:
#     display_name: Python 3 (ipykernel)
#     language: python
#     name: python3
# ---

# %% [markdown]
# # 2. Finite differences
#
# A backward that is wrong raises no error. The network still learns, only worse, and nobody knows why. So every
# backward needs a check, and the check is the definition of the derivative: change the input a little, and look
# at the output. This tutorial shows how exact that can be, when it lies, and how to build a check that no wrong
# backward passes.
#
# **You will be able to**
#
# * choose the step of a finite difference, and say why neither a larger nor a smaller one is better;
# * name the functions and number formats for which a finite difference lies;
# * write a gradient check that cannot be fooled, and see how a weaker one is.
#
# **It assumes** tutorial 1.

# %%
import numpy as np
from exercises import check, difference
from scipy.special import erf

import bnas
import bnas.functional as F
from bnas.plots import Figure

BLUE, RED, GREEN = "#0072B2", "#D55E00", "#009E73"

# %% [markdown]
# ## The idea
#
# The slope of a curve is the slope of a short chord. If the chord is long, the curve bends away from it: that is
# the *truncation error*. If it is very short, its two ends differ by so little that the computer's rounding is
# as large as the difference: that is the *rounding error*. Somewhere between is the best length, and one can
# calculate it.
#
# ## The mathematics
#
# Taylor's theorem says, for some $\xi$ between $x$ and $x + h$,
#
# $$f(x + h) = f(x) + h f'(x) + \tfrac{1}{2} h^2 f''(\xi)
# \quad\Rightarrow\quad \frac{f(x + h) - f(x)}{h} = f'(x) + \tfrac{1}{2} h f''(\xi) .$$
#
# The truncation error of this *forward difference* shrinks with $h$. Now the rounding. A float64 keeps 53 binary
# digits, so the computed $f(x)$ is off by about $u |f(x)|$, where $u = 2^{-53} \approx 1.1 \cdot 10^{-16}$. Two
# of them are subtracted, and the result is divided by $h$: up to $2 u |f| / h$. Both together:
#
# $$E(h) = \tfrac{1}{2} h\, |f''| + \frac{2 u |f|}{h} .$$
#
# The derivative of $E$ is zero where $\tfrac{1}{2} |f''| = 2 u |f| / h^2$, that is, at
# $h^* = 2 \sqrt{u\, |f / f''|}$. There the two parts are equal, and $E(h^*) = 2 \sqrt{u\, |f f''|}$. As long as
# $f$ and $f''$ are about 1, the best step is about $10^{-8}$, and half of the 16 digits are lost.
#
# Can one do better without more digits? Take the chord from $x - h$ to $x + h$. In the two Taylor series the
# terms with $h^2$ are equal, and cancel:
#
# $$\frac{f(x + h) - f(x - h)}{2 h} = f'(x) + \tfrac{1}{6} h^2 f'''(\xi),
# \qquad E(h) = \tfrac{1}{6} h^2 |f'''| + \frac{u |f|}{h} .$$
#
# This *central difference* is best at $h^* = (3 u\, |f / f'''|)^{1/3}$, about $10^{-5}$, with an error of about
# $10^{-11}$: two thirds of the digits are right, not only half.
#
# And what if nothing had to be subtracted? If $f$ can be computed for complex numbers, step sideways:
#
# $$f(x + i h) = f(x) + i h f'(x) - \tfrac{1}{2} h^2 f''(x) - \tfrac{i}{6} h^3 f'''(x) + \dots
# \quad\Rightarrow\quad \frac{\mathrm{Im} f(x + i h)}{h} = f'(x) - \tfrac{1}{6} h^2 f'''(x) + \dots$$
#
# This *complex step* has a truncation error of the same size, and no cancellation. So $h$ can be as small as one
# likes.


# %%
def forward_difference(f, x, h):
    return (f(x + h) - f(x)) / h


def central_difference(f, x, h):
    return (f(x + h) - f(x - h)) / (2 * h)


def complex_step(f, x, h):
    return f(x + 1j * h).imag / h


def f(x):
    return np.exp(x) * np.sin(x)


x = 1.0
slope = np.exp(x) * (np.sin(x) + np.cos(x))
second, third = 2 * np.exp(x) * np.cos(x), 2 * np.exp(x) * (np.cos(x) - np.sin(x))
tried = (1e-2, 1e-5, 1e-8, 1e-11)
print(f"{'error with step':20}", "  ".join(f"{h:.0e}" for h in tried))
for method in (forward_difference, central_difference, complex_step):
    errors = [abs(method(f, x, h) - slope) for h in tried]
    print(f"{method.__name__:20}", "  ".join(f"{error:.0e}" for error in errors))

# %% [markdown]
# From left to right the step gets smaller, from $10^{-2}$ to $10^{-11}$. The two differences improve and get
# worse again, as they should. The complex step does not get worse. All steps in one picture, and the two
# formulas for $E(h)$:

# %% tags=["picture"]
steps = np.logspace(-15, 0, 200)
u = 2.0**-53
forward_bound = steps / 2 * abs(second) + 2 * u * f(x) / steps
central_bound = steps**2 / 6 * abs(third) + u * f(x) / steps
figure = Figure((6.5, 4), layout="constrained")
axes = figure.subplots()
for method, color, marker in (
    (forward_difference, RED, "o"),
    (central_difference, BLUE, "s"),
    (complex_step, GREEN, "^"),
):
    errors = np.maximum(np.abs([method(f, x, h) - slope for h in steps]), 1e-17)
    name = method.__name__.replace("_", " ")
    axes.loglog(steps, errors, marker, color=color, markersize=3, label=name)
axes.loglog(steps, forward_bound, color=RED, label="E(h), forward")
axes.loglog(steps, central_bound, color=BLUE, linestyle="--", label="E(h), central")
axes.set(xlabel="step h", ylabel="absolute error of the derivative", ylim=(3e-18, 30))
axes.legend(ncols=2)
figure

# %% [markdown]
# Two Vs. On the right arms, where the truncation rules, the circles fall with the slope 1 and the squares with
# the slope 2. On the left arms, where the rounding rules, both rise with $1/h$ and scatter, because rounding
# errors look random. The lines are the formulas: on the right the error itself, on the left about the largest
# error that occurs. (Some lie above, because $x + h$ is rounded too, which the formulas leave out.) The triangles
# follow the squares down to the last digit and stay there. An error of exactly 0 is drawn near the lower edge.

# %%
near = np.cbrt(3 * u * abs(f(x) / third))
expected = {
    forward_difference: (2 * np.sqrt(u * abs(f(x) / second)), 2 * np.sqrt(u * abs(f(x) * second))),
    central_difference: (near, near**2 * abs(third) / 2),
}
for method, (h, bound) in expected.items():
    error = abs(method(f, x, h) - slope)
    print(f"{method.__name__}: best step {h:.1e}, expected {bound:.1e}, found {error:.1e}")
print(f"complex_step with 1e-200: found {abs(complex_step(f, x, 1e-200) - slope):.1e}")

# %% [markdown]
# These steps are where the Vs in the figure are lowest, and the errors found there are below the expected ones.
# So why not use the complex step always? It needs an $f$ that is analytic and whose code takes complex numbers:
# no comparison, no absolute value, no maximum. A network has all of these. The usual choice is the central
# difference in float64 with a step of $10^{-5}$, and so it is in bnas.
#
# ## Many inputs, many outputs
#
# Let $y = f(x)$ with $n$ inputs and $m$ outputs, and $J$ its Jacobian, $J_{ij} = \partial y_i / \partial x_j$. A
# backward takes a *cotangent* $c$ (what tutorial 1 called $\bar y$) and returns $J^\top c$. A finite difference
# takes a *direction* $d$ and returns $J d$. They meet in one number:
#
# $$\langle J^\top c,\; d \rangle = \langle c,\; J d \rangle
# \approx \Big\langle c,\; \frac{f(x + h d) - f(x - h d)}{2 h} \Big\rangle .$$
#
# If the $d$ are the unit vectors, one after another, the whole gradient is compared, coordinate by coordinate.
# Everything depends on which $c$ and $d$ one takes. Here is a check with all choices open.


# %%
def passes(forward, backward, x, cotangent, coordinates, tolerance, h=1e-5):
    """Whether backward(x, cotangent) agrees with central differences in these coordinates."""
    analytic = backward(x, cotangent)
    for k in coordinates:
        d = np.zeros_like(x)
        d[k] = 1.0
        numeric = cotangent @ (forward(x + h * d) - forward(x - h * d)) / (2 * h)
        if not abs(analytic[k] - numeric) <= tolerance:
            return False
    return True


def naive(forward, backward, x):
    return passes(forward, backward, x, np.ones(x.size), [x.size // 2], 1e-2)


# %% [markdown]
# `naive` is what one writes in a hurry: sum the outputs, which means a cotangent of ones; look at one
# coordinate; be content with two digits.
#
# ## A check that is fooled
#
# Three operations, each with a backward that is wrong in a way that happens in practice.

# %%
taps = np.array([0.5, -1.0, 2.0])


def smooth(x):  # a convolution in one dimension, with zeros around x
    return np.correlate(x, taps, "same")


def smooth_backward(x, dy):  # wrong: the taps have to be reversed
    return np.correlate(dy, taps, "same")


def softmax(x):
    return np.exp(x) / np.exp(x).sum()


def softmax_backward(x, dy):  # wrong: y * (...) is missing
    return dy - (dy * softmax(x)).sum()


# %%
def gelu(x):  # x times the probability that a normal variable is below x
    return x * (1 + erf(x / np.sqrt(2))) / 2


def gelu_backward(x, dy):  # wrong: the derivative of a well-known approximation of gelu
    a, b = np.sqrt(2 / np.pi), 0.044715
    t = np.tanh(a * (x + b * x**3))
    return dy * ((1 + t) / 2 + x * (1 - t**2) * a * (1 + 3 * b * x**2) / 2)


# %% [markdown]
# Now four checks, each stricter than the one before it, and besides the three a right backward: that of `smooth`
# with the taps reversed.

# %%
rng = np.random.default_rng(0)
x, ones, random = rng.standard_normal(9), np.ones(9), rng.standard_normal(9)
CHECKS = {
    "naive": (ones, [4], 1e-2),
    "all coordinates": (ones, range(9), 1e-2),
    "random cotangent": (random, range(9), 1e-2),
    "tolerance 1e-6": (random, range(9), 1e-6),
}
OPERATIONS = {
    "smooth": (smooth, smooth_backward),
    "softmax": (softmax, softmax_backward),
    "gelu": (gelu, gelu_backward),
    "right one": (smooth, lambda x, dy: np.correlate(dy, taps[::-1], "same")),
}
print(" " * 10, *(f"{name:18}" for name in CHECKS))
for name, (forward, backward) in OPERATIONS.items():
    results = [passes(forward, backward, x, *options) for options in CHECKS.values()]
    print(f"{name:10}", *(f"{'passes' if result else 'fails':18}" for result in results))

# %% [markdown]
# The right one passes everywhere, as it must. The other three are wrong, and all of them pass the naive check.
# Each later column catches one more, and each for a reason that one can understand:
#
# * **One coordinate.** In the middle of the signal, a cotangent of ones sums all the taps, and a sum does not
#   depend on their order. Only at the border does the order show.
# * **A cotangent of ones.** The outputs of a softmax sum to 1 whatever $x$ is. So the true gradient of their sum
#   is 0, and the wrong backward gives $1 - \sum_i y_i = 0$ as well. In general, ones see only the sums of the
#   columns of the error $\hat J - J$.
# * **A loose tolerance.** The approximation is off by less than 0.001, and the network would train. But then it is
#   not the gradient of what the forward computes, and a mistake of the same size elsewhere would pass too.
#
# ## A check that is not fooled
#
# Why is a random cotangent enough? Let $\hat J$ be the Jacobian that the backward has in mind, and suppose
# $\hat J \ne J$. With $c$ and $d$ drawn from the normal distribution, the two sides of the check differ by
#
# $$\langle c, (\hat J - J)\, d \rangle = \sum_{i,j} c_i\, (\hat J - J)_{ij}\, d_j .$$
#
# Given $c$, this is a normal variable with the standard deviation $s = \lVert (\hat J - J)^\top c \rVert$, and
# $s > 0$ with probability 1, because the $c$ with $s = 0$ form a subspace of lower dimension. The density of
# such a variable is at most $1 / (s \sqrt{2 \pi})$, so the chance that its size is below a tolerance $\tau$ is
# at most $2 \tau / (s \sqrt{2 \pi}) \approx 0.8\, \tau / s$. With $\tau = 10^{-6}$ an error of $s = 10^{-2}$ is
# missed once in ten thousand times, and with five independent draws practically never. And it costs *two*
# evaluations of $f$, not two for each coordinate.

# %%
n = 10_000
x, scale = rng.standard_normal(n), rng.standard_normal(n)


def one_wrong(x, dy):  # the backward of sin(scale x), with one of 10,000 entries 1 % too large
    dx = dy * scale * np.cos(scale * x)
    dx[1234] *= 1.01
    return dx


for _ in range(3):
    c, d = rng.standard_normal((2, n))
    numeric = c @ (np.sin(scale * (x + 1e-5 * d)) - np.sin(scale * (x - 1e-5 * d))) / 2e-5
    right = abs((c * scale * np.cos(scale * x)) @ d - numeric)
    wrong = abs(one_wrong(x, c) @ d - numeric)
    print(f"right backward off by {right:.0e}, wrong one by {wrong:.0e}")

# %% [markdown]
# One entry of ten thousand is wrong by 1 %, and two evaluations show it: the wrong backward is off by
# thousands of times as much as the right one. `bnas.check_gradients` does this, and more. Where the Jacobian is
# small it compares all of it, entry by entry. Its cotangents are then not unit vectors but the rows of a random
# rotation, so that a backward that is right for unit vectors alone does not pass. It measures how exact each
# difference is, by taking it with two step sizes. The four from above, as Functions:


# %%
def as_function(forward, backward):
    class Operation(bnas.Function):
        @staticmethod
        def forward(ctx, x):
            ctx.x = x
            return forward(x)

        @staticmethod
        def backward(ctx, dy):
            return (backward(ctx.x, dy),)

    return Operation


x = rng.standard_normal(9)
for name, (forward, backward) in OPERATIONS.items():
    try:
        print(f"{name}:", bnas.check_gradients(as_function(forward, backward), x))
    except bnas.gradcheck.GradientError as error:
        print(f"{name}: {error}")

# %% [markdown]
# None of the three passes, and the message says which numbers disagree. The right one does, with a relative
# error near the bottom of the blue V.
#
# ## What goes wrong
#
# **A kink.** Taylor's theorem needs a smooth $f$. A ReLU has a kink at 0, and sign jumps there. Near the kink a
# central difference sees both sides.

# %%
h = 0.1
x = np.linspace(-0.3, 0.3, 301)
figure = Figure((6.5, 3.1), layout="constrained")
panels = figure.subplots(1, 2)
for axes, g, true, name in zip(
    panels, (lambda x: np.maximum(x, 0), np.sign), ((x > 0) * 1.0, 0 * x), ("ReLU", "sign")
):
    axes.plot(x / h, true, color=RED, linestyle="--", label="true slope")
    axes.plot(x / h, central_difference(g, x, h), color=BLUE, label=f"difference, h = {h}")
    axes.set(title=name, xlabel="x / h", ylabel="slope")
figure.legend(*panels[0].get_legend_handles_labels(), loc="outside lower center", ncols=2)
figure

# %% [markdown]
# Left: within $h$ of the kink the difference (solid) says $(1 + x/h) / 2$, any number from 0 to 1, where the
# true slope (dashed) is 0 or 1. Right: the difference of sign is 0, or $1/h$ near the jump, and *neither is of
# use*: the true slope is 0 wherever there is one. With it nothing can be learned. How 1-bit networks are trained
# all the same is the next tutorial. With $h = 10^{-5}$ few inputs are so near. But a network has many ReLUs, and
# one near the kink is enough to make a right backward look wrong. One can notice that: at a smooth place the
# difference hardly changes with twice the step.


# %%
def relu(x):
    return np.maximum(x, 0)


for g, place, name in ((np.sin, 3e-6, "sin"), (relu, 3e-6, "ReLU"), (relu, 0.0, "ReLU")):
    once, twice = (central_difference(g, place, h) for h in (1e-5, 2e-5))
    print(f"{name:5} at {place:<5}: {once:.6f}, with twice the step {twice:.6f}")

# %% [markdown]
# For the sine nothing changes, for the ReLU near its kink the first digit does. `bnas.check_gradients` takes
# what the two steps differ by as a measure of how far the difference can be trusted, tries a smaller step, and
# says so if it still cannot tell. What no step reveals is an input exactly *on* the kink, as in the last row:
# the difference is $1/2$ with every step, and a right backward, which says 0 or 1, fails. So check at random
# inputs, not at zeros.
#
# **float32.** Here $u = 2^{-24} \approx 6 \cdot 10^{-8}$, and all steps move. The same central difference in
# both formats:


# %%
def worst_error(dtype, h):
    x = np.linspace(1, 2, 100, dtype=dtype)
    slopes = np.exp(x) * (np.sin(x) + np.cos(x))
    return np.abs(central_difference(f, x, dtype(h)) - slopes).max()


print("step     float64    float32")
for h in (1e-1, 1e-2, 1e-3, 1e-5, 1e-7):
    print(f"{h:.0e}", *(f"{worst_error(dtype, h):10.0e}" for dtype in (np.float64, np.float32)))

# %% [markdown]
# In float32 no step gives more than about four digits, and with the $10^{-5}$ that is so good for float64 the
# result is only good for one or two. So check in float64, also what will later run in float32; `check_gradients`
# takes float64 alone, and makes a float64 copy of a Module.
#
# **A complex step through an absolute value.** For $f(x) = x |x|$ the slope is $2 |x|$.

# %%
stepped = complex_step(lambda x: x * np.abs(x), 1.5, 1e-20)
print("complex step at 1.5:", stepped, "  true slope:", 2 * 1.5)

# %% [markdown]
# Half of the truth, to all digits, and no warning: `abs` of a complex number is its length, a real number, so
# the imaginary part of that factor is lost.
#
# **A check without power.** A difference of 0 agrees with any backward that returns 0. So a good check refuses
# cases in which it can see nothing:

# %%
x = rng.standard_normal(5)
for name, function in {
    "the sum of a softmax": lambda x: F.softmax(x, axis=0).sum(),
    "sign": F.sign_ste,
}.items():
    try:
        bnas.check_gradients(function, x)
    except bnas.gradcheck.GradientError as error:
        print(f"{name}: {error}\n")

# %% [markdown]
# In both cases the numeric gradient is zero, and the check says that it cannot decide. An operation like sign,
# whose backward is that of another function on purpose, is compared with that function: its *surrogate*.
#
# ## Exercises
#
# Replace each stub, run its cell, then the one below it.
#
# **Exercise 1.** *Five points.* Find $a$ and $b$ such that
#
# $$f'(x) \approx \frac{a\, [f(x + h) - f(x - h)] + b\, [f(x + 2 h) - f(x - 2 h)]}{h}$$
#
# has no error of the order $h^2$, and write that formula. (Insert the Taylor series. The terms with $h^2$ and
# $h^4$ cancel by themselves; one condition makes the slope right, the other removes the term with $h^3$.)


# %% tags=["exercise-1"]
def five_points(f, x, h):
    """The slope of f at x, with an error of the order h⁴."""
    ...


# %% tags=["check-1"]
def examine_five_points(five_points):
    rng = np.random.default_rng(1)
    for degree in (1, 2, 3, 4):  # without any truncation error
        for h in (0.5, 2.0):
            polynomial = np.polynomial.Polynomial(rng.standard_normal(degree + 1))
            x = rng.standard_normal(3)
            fault = difference(five_points(polynomial, x, h), polynomial.deriv()(x))
            if fault:
                return f"for a polynomial of degree {degree} and h = {h}, {fault}"


check(1, five_points, examine_five_points)

# %% [markdown]
# **Exercise 2.** *A product with the Hessian.* Let $g(x)$ be the gradient of a function, and $H$ its Hessian, the
# Jacobian of $g$. Write $H v$ by a central difference of $g$, without computing $H$. A later tutorial needs this
# product for a million weights.


# %% tags=["exercise-2"]
def hessian_product(g, x, v, h=1e-4):
    """H v, of the shape of x; g(x) is the gradient at x, v has the shape of x."""
    ...


# %% tags=["check-2"]
def examine_hessian_product(hessian_product):
    rng = np.random.default_rng(2)
    for shape in [(1,), (4,), (2, 3)]:
        x, v = rng.standard_normal((2, *shape))
        A = rng.standard_normal((x.size, x.size))
        A = A + A.T  # of the function xᵀ A x / 2 + Σ x⁴ / 4

        def g(x):
            return (A @ x.ravel()).reshape(x.shape) + x**3

        expected = (A @ v.ravel()).reshape(shape) + 3 * x**2 * v
        fault = difference(hessian_product(g, x, v), expected, 1e-6)
        if fault:
            return f"for an x of shape {shape}, {fault}"


check(2, hessian_product, examine_hessian_product)

# %% [markdown]
# **Exercise 3.** *Fool the check.* The operation is `y = np.cumsum(x)`: $y_i = x_0 + \dots + x_i$. Write a
# backward that is *wrong*, and that `naive` accepts all the same, for inputs of any length.


# %% tags=["exercise-3"]
def fooling_backward(x, dy):
    """A wrong gradient of x for y = np.cumsum(x) that passes the naive check."""
    ...


# %% tags=["check-3"]
def examine_fooling(backward):
    rng = np.random.default_rng(3)
    for size in (2, 5, 12):
        x, c = rng.standard_normal((2, size))

        def on_copies(x, dy):  # so that it may write into them
            return backward(x.copy(), dy.copy())

        if not naive(np.cumsum, on_copies, x):
            return f"with {size} inputs the naive check notices that it is wrong"
        if passes(np.cumsum, on_copies, x, c, range(size), 1e-6):
            return f"with {size} inputs it is right, and so it fools nobody"


check(3, fooling_backward, examine_fooling)

# %% [markdown]
# ## Where to read on
#
# * `bnas/gradcheck.py`: `check_gradients` with `_whole_jacobian` (the random rotation), `_projections` (random
#   cotangents and directions), `_slope` (two step sizes) and `_worst_entry` (what is accepted, what is
#   powerless). The constants at the top are the numbers of this tutorial.
# * The end of every file of `bnas/functional/`: `gradient_cases`, on which `bnas gradcheck` checks every
#   operation. `off_kinks` in `bnas/functional/elementwise.py` moves inputs away from kinks.
# * Squire and Trapp, *Using complex variables to estimate derivatives of real functions*, SIAM Review 40 (1998),
#   is three pages on the complex step. Higham, *Accuracy and Stability of Numerical Algorithms* (2002), chapter 1,
#   tells what rounding does.
# * Tutorial 3 takes up the sign.
