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
# # 1. A tape and a backward pass
#
# To train a network one needs the derivative of one number, the loss, with respect to every weight. There may be
# a million weights. This tutorial builds the program that finds all of these derivatives at once, in some 60
# lines, and then opens the one that the rest of the tutorials use.
#
# **You will be able to**
#
# * write an engine for automatic differentiation in reverse mode, first for numbers, then for arrays;
# * derive the backward of an operation, and undo broadcasting in it;
# * recognise three mistakes of such engines by their symptoms.
#
# **It assumes** no earlier tutorial; only NumPy and the chain rule.

# %%
import inspect
import math
import time

import numpy as np
from exercises import check, difference

import bnas
import bnas.functional as F
from bnas.plots import Figure, graph_figure

# %% [markdown]
# ## The idea
#
# However long a program is, it computes its result in small steps: a sum, a product, a tanh. The derivative of
# each small step is easy. So let every step be written down while the program runs, on a *tape*. Afterwards walk
# over the tape from its end to its beginning, and ask of each value: if it changed a little, how many times as
# much would the result change? That is the value's *gradient*. The result's own gradient is 1. Every step hands
# the gradient of its output on to its inputs, multiplied by the derivative of the step.
#
# ## The mathematics
#
# Let $v_1, v_2, \dots, v_n$ be the values in the order in which they were computed, $L = v_n$ the result, and
# $\bar v_i = \partial L / \partial v_i$ the gradient of $v_i$. Suppose that $v_i$ is an input of the steps that
# made $v_j$ and $v_k$. If $v_i$ changes by a small $\delta$, then $v_j$ changes by
# $\delta\, \partial v_j / \partial v_i$ and $v_k$ by $\delta\, \partial v_k / \partial v_i$, and both change
# $L$. To first order the two effects add up. For any number of users,
#
# $$\bar v_i = \sum_{k \,:\, v_i \text{ is an input of } v_k} \bar v_k \, \frac{\partial v_k}{\partial v_i},
# \qquad \bar v_n = 1.$$
#
# Here $\partial v_k / \partial v_i$ is the derivative of that one step alone. Two things follow, and they are
# all there is to an engine:
#
# * **Reverse order.** Whoever uses $v_i$ comes after it on the tape. Walking backwards, $\bar v_i$ is complete
#   when we reach $v_i$.
# * **Add, do not assign.** A value that is used twice receives two terms.
#
# ## Numbers
#
# Each `Value` keeps its inputs together with the derivative of its step by each of them.

# %%
tape = []  # every value, in the order in which it was computed


class Value:
    def __init__(self, data, inputs=()):
        self.data, self.inputs, self.grad = data, inputs, 0.0
        tape.append(self)

    def __add__(self, other):
        return Value(self.data + other.data, [(self, 1.0), (other, 1.0)])

    def __mul__(self, other):
        return Value(self.data * other.data, [(self, other.data), (other, self.data)])

    def tanh(self):
        y = math.tanh(self.data)
        return Value(y, [(self, 1 - y * y)])


def backward(output):
    output.grad = 1.0
    for value in reversed(tape):
        for source, slope in value.inputs:
            source.grad += value.grad * slope


# %% [markdown]
# Try it on $L = w \tanh(w x + b)$, in which $w$ is used twice. By hand, with $y = \tanh(w x + b)$,
# $\partial L / \partial w = y + w\,(1 - y^2)\,x$: one term for each use.

# %%
tape.clear()  # so that this cell can be run again
w, x, b = Value(0.5), Value(2.0), Value(-0.3)
y = (w * x + b).tanh()
loss = w * y
backward(loss)

for value, name in zip(tape, ["w", "x", "b", "w x", "w x + b", "y", "loss"]):
    print(f"{name:8} value {value.data:7.4f}   gradient {value.grad:7.4f}")
print("dL/dw by hand:", round(y.data + w.data * (1 - y.data**2) * x.data, 4))

# %% [markdown]
# Read the table from below, as `backward` did. The loss has the gradient 1. It hands `y` the derivative of $w y$
# by $y$, which is $w = 0.5$, and hands `w` the first of its two terms. At the end `w` has what the hand
# calculation says. One walk gave the gradients of *all* values: that of `x` and `b` came along for nothing.
#
# ## Arrays
#
# For an array the derivative of a step is a matrix, the Jacobian: if $y$ has 1,000 entries and $x$ has 1,000, it
# has a million. It is never built. All that a step needs is the map from $\bar y$ to $\bar x$, and for the usual
# operations that map is short. A good way to derive it starts from what a gradient means: to first order
# $dL = \langle \bar y, dy \rangle$, the sum of the products of all entries. Take $Y = X W$. Then
# $dY = dX\, W + X\, dW$, so
#
# $$dL = \langle \bar Y, dX\, W \rangle + \langle \bar Y, X\, dW \rangle
# = \langle \bar Y W^\top, dX \rangle + \langle X^\top \bar Y, dW \rangle ,$$
#
# because $\langle A, B C \rangle = \mathrm{tr}(A^\top B C)$, and the factors of a trace may be moved around in a
# circle. What stands beside $dX$ is the gradient of $X$:
#
# $$\bar X = \bar Y\, W^\top, \qquad \bar W = X^\top\, \bar Y .$$
#
# **Broadcasting.** When $b$ of shape `(3,)` is added to $x$ of shape `(4, 3)`, NumPy acts as if there were four
# copies of $b$. So $b$ is used four times, and the rule about uses holds: $y_{ij} = x_{ij} + b_j$ gives
# $\bar b_j = \sum_i \bar y_{ij}$. In general, *whatever NumPy repeated in the forward is summed in the
# backward*: axes that it put in front, and axes of length 1 that it stretched.


# %%
def unbroadcast(gradient, shape):
    """Sum `gradient` to `shape`, that of an array which NumPy repeated."""
    in_front = tuple(range(gradient.ndim - len(shape)))
    gradient = gradient.sum(axis=in_front)  # an empty tuple of axes sums nothing
    stretched = tuple(axis for axis, length in enumerate(shape) if length == 1)
    return gradient.sum(axis=stretched, keepdims=True)


for shape in [(4, 3), (3,), (4, 1), (1, 3), ()]:
    print(f"{str(shape):7}", unbroadcast(np.ones((4, 3)), shape).tolist())

# %% [markdown]
# The gradient of every entry counts how often that entry was used: 1, 4, 3, 4 and 12 times. Now the class. In
# place of a slope each input comes with a function from $\bar y$, called `dy`, to its own gradient.


# %%
class Array:
    def __init__(self, data, inputs=()):
        self.data = np.asarray(data, dtype=float)
        self.inputs, self.grad = inputs, np.zeros_like(self.data)
        tape.append(self)

    def __add__(self, other):
        return Array(self.data + other.data, [(self, lambda dy: dy), (other, lambda dy: dy)])

    def __mul__(self, other):
        to_self, to_other = lambda dy: dy * other.data, lambda dy: dy * self.data
        return Array(self.data * other.data, [(self, to_self), (other, to_other)])

    def __matmul__(self, other):
        to_self, to_other = lambda dy: dy @ other.data.T, lambda dy: self.data.T @ dy
        return Array(self.data @ other.data, [(self, to_self), (other, to_other)])


# %%
def tanh(x):
    y = np.tanh(x.data)
    return Array(y, [(x, lambda dy: dy * (1 - y**2))])


def mean(x):
    return Array(x.data.mean(), [(x, lambda dy: dy * np.ones_like(x.data) / x.data.size)])


def backward(output):
    output.grad = np.ones_like(output.data)
    for array in reversed(tape):
        for source, pull_back in array.inputs:
            gradient = unbroadcast(pull_back(array.grad), source.data.shape)
            source.grad = source.grad + gradient


# %% [markdown]
# Both engines together have some 60 lines. They suffice for a small network: one hidden layer of 16 units, which
# learns the curve $\sin 3x$ from 40 noisy points.

# %%
rng = np.random.default_rng(0)
xs = np.linspace(-1, 1, 40)[:, None]
noise = 0.1 * rng.standard_normal(xs.shape)
targets = np.sin(3 * xs) + noise
start = [
    2 * rng.standard_normal((1, 16)),
    rng.standard_normal(16),
    rng.standard_normal((16, 1)) / 4,
]


def loss_of(w1, b1, w2):
    error = tanh(Array(xs) @ w1 + b1) @ w2 + Array(-targets)
    return mean(error * error)


# %%
def descend(steps, rate=0.1):
    parameters, losses = [Array(p) for p in start], []
    for _ in range(steps):
        tape[:] = parameters  # a new tape: what was computed before is no longer needed
        loss = loss_of(*parameters)
        backward(loss)
        losses.append(float(loss.data))
        for p in parameters:
            p.data, p.grad = p.data - rate * p.grad, np.zeros_like(p.data)
    return losses


losses = descend(500)
print(f"loss {losses[0]:.3f} at first, {losses[-1]:.3f} after 500 steps")
print(f"mean square of the noise {np.mean(noise**2):.3f}")

# %% [markdown]
# It works: the loss comes close to the mean square of the noise, which the true curve itself has as its loss.
# (With ten times as many steps the loss falls below that. Then the network learns the noise by heart.)
#
# ## The engine of bnas
#
# `bnas.Tensor` is the same idea. Three things differ from ours.
#
# * There is no list that grows. Each result points to a record of its operation, its `node`, and the record
#   points to the inputs. When the result is no longer needed, Python frees the record. Records are numbered as
#   they are made; `backward` collects those below the loss and sorts them by number, newest first. That is the
#   tape, put together when it is needed.
# * An operation is a class with a `forward` and a `backward` on plain arrays, one below the other, so that they
#   can be read together. What the backward needs is left on `ctx`.
# * Only *leaves*, the Tensors that you made with `requires_grad=True`, keep a gradient. The others are freed on
#   the way.

# %%
from bnas.functional.arithmetic import Mul

print(inspect.getsource(Mul))

# %% [markdown]
# `broadcasts = True` asks the engine to call its `unbroadcast` on what `backward` returns. `ctx.needs` tells
# which inputs want a gradient at all. Now the same network in both engines, from the same numbers.

# %%
parameters = [bnas.Tensor(p, requires_grad=True) for p in start]
w1, b1, w2 = parameters
error = F.matmul(F.tanh(F.matmul(xs, w1) + b1), w2) - targets
loss = (error * error).mean()
figure = graph_figure(loss, {"w1": w1, "b1": b1, "w2": w2})  # now: backward frees the records
loss.backward()

tape.clear()
ours = [Array(p) for p in start]
backward(loss_of(*ours))
for name, a, b in zip(["w1", "b1", "w2"], ours, parameters):
    print(f"{name}: largest difference of the gradients {np.abs(a.grad - b.grad).max():.1e}")

# %% [markdown]
# The two agree, here to the last digit. The graph that `backward` walked through:

# %% tags=["picture"]
figure

# %% [markdown]
# Blue are the leaves, yellow is the loss, and below each name stands the shape. The arrows show the forward;
# `backward` goes against them. See the two arrows from `Sub` to `Mul`: the error is multiplied by itself, so it
# is used twice and gets two terms. The inputs `xs` and the targets are not there, because nobody asked for their
# gradient.
#
# **What it costs.** A finite difference, $(L(w + h) - L(w)) / h$, needs one forward for every weight. The
# backward does at most two matrix products for each one of the forward, as we derived, however many weights
# there are. The price is memory: whatever a step of the backward needs is kept until then.


# %%
def seconds(function, repeats=50):
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        function()
        times.append(time.perf_counter() - start)
    return min(times)  # the others were disturbed


data = rng.standard_normal((8, 64))
for hidden in (16, 256):
    a = bnas.Tensor(rng.standard_normal((64, hidden)), requires_grad=True)
    b = bnas.Tensor(rng.standard_normal((hidden, 1)), requires_grad=True)
    weights = a.size + b.size

    def forward():
        return F.matmul(F.tanh(F.matmul(data, a)), b).mean()

    only, both = seconds(forward), seconds(lambda: bnas.grad(forward(), [a, b]))
    print(f"{weights:6,} weights: forward {1e3 * only:.2f} ms, with backward {1e3 * both:.2f} ms,")
    print(f"               by differences {(weights + 1) * only:.2f} s")

# %% [markdown]
# With the backward a step takes a small multiple of the forward alone. Differences (the last number is a
# product, nobody waited for it) cost as many forwards as there are weights. They are slow, but simple, and so
# they are what we check a backward with: the next tutorial.
#
# ## What goes wrong
#
# **A second backward.** Gradients are added up, and nothing takes the old ones away. Here is what a second call
# of `backward` does to the first example:

# %%
tape.clear()
w, x, b = Array(0.5), Array(2.0), Array(-0.3)
y = tanh(w * x + b)
loss = w * y
for call in (1, 2):
    backward(loss)
    print(f"after call {call}: y {y.grad:.4f}, b {b.grad:.4f}, w {w.grad:.4f}")

# %% [markdown]
# The gradient of `y` has doubled. That of `b` is four times as large, because on the second walk every value on
# the way hands on what it had from the first as well. And for `w` the factor is not even a whole number. The
# engine of bnas keeps gradients of leaves alone, and frees the records on the first walk, so that a second one
# over the same graph is refused. But across steps the gradients of the leaves still add up, unless you remove
# them: `optimiser.zero_grad()`, or `p.grad = None`. Below, one of two runs leaves that out.


# %%
def train(steps, forget, rate=0.1):
    parameters, losses = [bnas.Tensor(p, requires_grad=True) for p in start], []
    w1, b1, w2 = parameters
    for _ in range(steps):
        error = F.matmul(F.tanh(F.matmul(xs, w1) + b1), w2) - targets
        loss = (error * error).mean()
        loss.backward()
        losses.append(loss.item())
        for p in parameters:
            p.data = p.data - rate * p.grad
            if not forget:
                p.grad = None
    return losses


# %%
figure = Figure((6.5, 3.2), layout="constrained")
axes = figure.subplots()
axes.semilogy(train(150, forget=False), color="#0072B2", label="gradient of this step")
axes.semilogy(train(150, forget=True), "--", color="#D55E00", label="summed over steps")
axes.set(xlabel="step", ylabel="loss (mean squared error)")
axes.legend()
figure

# %% [markdown]
# The right one (solid) falls. The other (dashed) takes the same first step, then jumps up again and swings up
# and down without coming to rest. There is no error message. Why does it swing? The sum of all gradients so far
# is a velocity: the step does what momentum does, with nothing that slows it down. A ball that rolls in a bowl
# without friction does not stop at the bottom.
#
# **The sum that is forgotten.** Without `unbroadcast` the gradient of $b$ has the shape of the *sum*, not that
# of $b$. NumPy does not complain: it broadcasts once more.

# %%
batch, b = rng.standard_normal((4, 3)), np.zeros(3)
dy = 2 * (batch + b)  # the gradient of the sum of squares, by batch + b
b = b - 0.1 * dy  # should have been dy.sum(axis=0)
print("b had the shape (3,), now it has", b.shape)
try:
    rng.standard_normal((2, 3)) + b  # the last batch of an epoch is smaller
except ValueError as error:
    print("a batch later:", error)

# %% [markdown]
# The parameter has silently become four parameters, one for each row of the batch. The failure comes later, in
# another place, or never if all batches have one size. The engine of bnas compares the shape of every gradient
# with that of its input, so the mistake is told where it is made:


# %%
class PlainAdd(bnas.Function):
    @staticmethod
    def forward(ctx, a, b):
        return a + b

    @staticmethod
    def backward(ctx, dy):
        return dy, dy


try:
    PlainAdd.apply(batch, bnas.Tensor(np.zeros(3), requires_grad=True)).sum().backward()
except RuntimeError as error:
    print(error)

# %% [markdown]
# **Recursion.** Many small engines have no tape. They find an order by a walk from the loss through the inputs,
# with a function that calls itself. It is short, and it is right, as long as the graph is not deep.


# %%
def newest_first(output):
    order, seen = [], set()

    def visit(value):
        if id(value) not in seen:
            seen.add(id(value))
            for source, _ in value.inputs:
                visit(source)
            order.append(value)

    visit(output)
    return order[::-1]


for depth in (100, 20_000):
    total = one = Array(1.0)
    for _ in range(depth):
        total = total + one
    try:
        print(f"{depth:,} sums: {len(newest_first(total))} values in order")
    except RecursionError as error:
        print(f"{depth:,} sums: RecursionError, {error}")

# %% [markdown]
# Python allows about a thousand calls inside each other. A recurrent network, or a sum in a loop, may have more
# steps than that. The engine of bnas does not recurse:

# %%
total = one = bnas.Tensor(1.0, requires_grad=True)
for _ in range(20_000):
    total = total + one
total.backward()
print("20,000 sums: the number was used 20,001 times, its gradient is", one.grad)

# %% [markdown]
# ## Exercises
#
# Replace each stub, run its cell, then run the cell below it. That one tells whether your answer is right.
#
# **Exercise 1.** *A sigmoid.* Let $y = 1 / (1 + e^{-x})$, entry by entry. Write its backward: from the output $y$
# and from $\bar y$ to $\bar x$. (The derivative of the sigmoid can be written with $y$ alone.)


# %% tags=["exercise-1"]
def sigmoid_backward(y, dy):
    """The gradient of x, from the output y and its gradient dy: arrays of one shape, () among others."""
    ...


# %% tags=["check-1"]
def examine_sigmoid(backward):
    rng = np.random.default_rng(1)
    for shape in [(), (5,), (3, 4)]:
        x = bnas.Tensor(rng.standard_normal(shape), requires_grad=True)
        y, dy = F.sigmoid(x), rng.standard_normal(shape)
        (expected,) = bnas.grad(y, [x], dy)
        fault = difference(backward(y.numpy(), dy), expected)
        if fault:
            return f"for an x of shape {shape}, {fault}"


check(1, sigmoid_backward, examine_sigmoid)

# %% [markdown]
# **Exercise 2.** *A softmax.* Let $y_{bi} = e^{x_{bi}} / \sum_j e^{x_{bj}}$: every row of $x$ becomes a row of
# probabilities. Here every output depends on every input of its row, so the Jacobian of a row is a full matrix.
# Derive it, multiply $\bar y$ by it, and simplify until no matrix is left.


# %% tags=["exercise-2"]
def softmax_backward(y, dy):
    """The gradient of x, from the output y and its gradient dy, all of shape (rows, classes)."""
    ...


# %% tags=["check-2"]
def examine_softmax(backward):
    rng = np.random.default_rng(2)
    for shape in [(1, 2), (3, 5), (4, 4)]:
        x = bnas.Tensor(rng.standard_normal(shape), requires_grad=True)
        y, dy = F.softmax(x, axis=1), rng.standard_normal(shape)
        (expected,) = bnas.grad(y, [x], dy)
        fault = difference(backward(y.numpy(), dy), expected)
        if fault:
            return f"for an x of shape {shape}, {fault}"


check(2, softmax_backward, examine_softmax)

# %% [markdown]
# **Exercise 3.** *An order without recursion.* Write `order_of`, which does what `newest_first` does, for graphs
# of any depth. A value has the attribute `inputs`, here a plain list of values. There is no tape, and values have
# no number. Return a list of all values that the output was made from, the output among them: each once, and every
# value before its inputs. Do not follow every path from the output: a graph of 30 values may have a hundred
# thousand paths, and your function would not come to an end on a larger one. These are graphs to try it on, the
# last one of them deep:


# %%
class Node:
    def __init__(self, *inputs):
        self.inputs = list(inputs)


def some_graphs(rng):
    """Lists of nodes, each made from nodes before it; the last one is made from all of them."""
    first = Node()
    second = Node(first)
    yield [first, second, Node(first, second)]
    for size in (5, 10, 30, 20_000):
        nodes = [Node()]
        for k in range(1, size):
            nodes.append(Node(nodes[-1], *(nodes[i] for i in rng.integers(0, k, 2))))
        yield nodes


# %% tags=["exercise-3"]
def order_of(output):
    """All values below `output`, each one before its inputs."""
    ...


# %% tags=["check-3"]
def examine_order(order_of):
    for nodes in some_graphs(np.random.default_rng(3)):
        order = list(order_of(nodes[-1]))
        place, size = {node: k for k, node in enumerate(order)}, len(nodes)
        if len(order) != size or set(place) != set(nodes):
            listed = len(set(place) & set(nodes))
            return f"of {size} values the list has {listed}, in {len(order)} places"
        if any(place[source] < place[node] for node in nodes for source in node.inputs):
            return f"of {size} values some stand behind an input of theirs"


check(3, order_of, examine_order)

# %% [markdown]
# ## Where to read on
#
# * `bnas/autodiff.py`: the whole engine. Read `Function`, then `Context`, then `_leaf_gradients`, which is our
#   `backward`, and `_newest_first`. The last function is `unbroadcast`.
# * `bnas/functional/elementwise.py` and `bnas/functional/arithmetic.py`: operations, a class each.
#   `bnas/functional/linear.py` has the matrix product.
# * Baydin, Pearlmutter, Radul, Siskind, *Automatic differentiation in machine learning: a survey*, JMLR 18
#   (2018), tells forward and reverse mode and their history. Griewank and Walther, *Evaluating Derivatives*
#   (2008), chapter 4, proves that the gradient costs at most a few times as much as the function, whatever it is.
# * The next tutorial checks a backward with finite differences.
