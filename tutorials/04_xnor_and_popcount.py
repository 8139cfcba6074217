# ---
# jupyter:
#   jupytext:
#     text_representation:
#       extension: .py
#       format_name: percent
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # 4. XNOR and popcount
#
# Signs are bits. A processor works on 64 of them with one instruction, so a layer of signs can be computed with
# far fewer instructions than a layer of floats. This tutorial builds that layer, exact to the integer, and then
# measures what it gains on your machine.
#
# **You will be able to**
#
# * compute products of sign vectors on packed bits, also where words are half empty and where a convolution
#   reads beyond the border of the image;
# * derive the scale $\beta = \operatorname{mean}|\hat w|$ by least squares, and say why it belongs after the
#   sum;
# * race two implementations fairly, and explain the result with a roofline.
#
# **It assumes** tutorial 3.

# %%
import time

import numpy as np
from exercises import check, difference

import bnas.functional as F
from bnas import kernels
from bnas.bench import machine_record, threads
from bnas.bench.peak import popcounts
from bnas.kernels.windows import Window
from bnas.kernels.xnor import prepare
from bnas.plots import Figure

BLUE, ORANGE, GREEN, BLACK = "#0072B2", "#D55E00", "#009E73", "#000000"

# %% [markdown]
# ## The dot product of two sign vectors
#
# Write $+1$ as the bit 1 and $-1$ as the bit 0. The product of two signs is $+1$ where they agree and $-1$ where
# they differ:
#
# | $a$ | $b$ | $a \cdot b$ | bits | xnor | xor |
# |---|---|---|---|---|---|
# | $-1$ | $-1$ | $+1$ | 0, 0 | 1 | 0 |
# | $-1$ | $+1$ | $-1$ | 0, 1 | 0 | 1 |
# | $+1$ | $-1$ | $-1$ | 1, 0 | 0 | 1 |
# | $+1$ | $+1$ | $+1$ | 1, 1 | 1 | 0 |
#
# So the product *is* the exclusive-or, negated: XNOR. Now sum over $n$ positions. If $d$ of them differ, $n - d$
# agree, and
#
# $$a \cdot b = (n - d) - d = n - 2d, \qquad d = \operatorname{popcount}(a \operatorname{xor} b),$$
#
# where popcount is the number of ones in a word, a single instruction on most processors. No multiplication is
# left. With eight signs, by hand:

# %%
a = np.array([1, -1, -1, 1, 1, 1, -1, 1])
b = np.array([1, 1, -1, -1, 1, -1, -1, 1])


def bits_of(signs):
    """The bits as an integer; position 0 is the lowest bit."""
    return sum(1 << k for k, value in enumerate(signs) if value > 0)


xor = bits_of(a) ^ bits_of(b)
print(f"a   {bits_of(a):08b}\nb   {bits_of(b):08b}\nxor {xor:08b}, {xor.bit_count()} ones")
print("8 - 2 popcount =", 8 - 2 * xor.bit_count(), " and the sum of products =", a @ b)

# %% [markdown]
# (The highest bit is printed first, so the vectors read from right to left.) Two integers, one xor and one
# popcount in place of eight products.
#
# ## Packing
#
# To use whole words, 64 signs are packed into one unsigned integer of 64 bits. NumPy packs bytes, eight of which
# are read as one word. A vector whose length is no multiple of 64 is filled up with zeros.


# %%
def pack(x):
    """Signs along the last axis as bits: (..., n) -> uint64 (..., ceil(n / 64))."""
    octets = np.packbits(x > 0, axis=-1, bitorder="little")
    fill = [(0, 0)] * (x.ndim - 1) + [(0, -octets.shape[-1] % 8)]
    return np.ascontiguousarray(np.pad(octets, fill)).view("<u8").astype(np.uint64)


def popcount_matmul(a, b, n):
    """a (M, K), b (N, K) words of n signs -> the products of all pairs, int64 (M, N)."""
    differing = np.bitwise_count(a[:, None, :] ^ b[None, :, :])
    return n - 2 * differing.sum(axis=-1, dtype=np.int64)


rng = np.random.default_rng(0)
for n in (1, 63, 64, 65, 100, 1000):
    x, y = rng.standard_normal((20, n)), rng.standard_normal((30, n))
    signs = np.where(x > 0, 1, -1) @ np.where(y > 0, 1, -1).T
    equal = np.array_equal(popcount_matmul(pack(x), pack(y), n), signs)
    print(f"n = {n:4}: {pack(x).shape[1]:2} words, equal to the product of signs: {equal}")

# %% [markdown]
# Equal means equal: these are integers, and there is no tolerance. A float32 vector of 1,000 numbers takes 4,000
# bytes, its signs 128.
#
# The library has the same two functions, compiled. `pack_bits` takes images (N, C, H, W) and packs their
# channels, so our vectors are images of one pixel; `xnor_matmul` multiplies words. Are they equal, bit by bit?

# %%
for n in (1, 63, 64, 65, 100, 1000):
    x, y = rng.standard_normal((20, n)), rng.standard_normal((30, n))
    theirs = [kernels.pack_bits(v[:, :, None, None]).reshape(len(v), -1) for v in (x, y)]
    words = all(np.array_equal(pack(v), t) for v, t in zip((x, y), theirs))
    products = np.array_equal(popcount_matmul(*theirs, n), kernels.xnor_matmul(*theirs, n))
    print(f"n = {n:4}: same words: {words}, same products: {products}")

# %% [markdown]
# ### Words half empty
#
# For $n = 100$ there are two words, and 28 bits of the second belong to nobody. They do no harm because they are
# 0 in *both* vectors: their xor is 0, and they are not counted. The formula takes $n$, the true number of signs,
# and not 64 times the number of words. That is the reason to count where bits differ, and not where they agree.
#
# They do cost time, since a word takes as long when it is empty:

# %%
n = np.arange(1, 321)
figure = Figure(figsize=(6.2, 2.8), layout="constrained")
ax = figure.subplots()
ax.plot(n, 100 * n / (64 * np.ceil(n / 64)), color=BLUE, drawstyle="steps-mid")
for count in (16, 64, 65, 128):
    share = 100 * count / (64 * np.ceil(count / 64))
    ax.plot(count, share, "o", color=ORANGE)
    ax.annotate(f"{count}", (count, share), (7, -4), textcoords="offset points")
ax.set(xlabel="signs in a sum, $n$", ylabel="bits in use, %", ylim=(0, 109))
figure

# %% [markdown]
# See the teeth of the saw: with 64 signs every bit works, with 65 little more than half of them do, and with 16
# three quarters of the word are empty. In a convolution it is the channels of a pixel that share a word, as the
# next section shows. So a 1-bit network is best served by channels in multiples of 64.
#
# ## A convolution, padded with exact zeros
#
# In a convolution each output pixel is a sum over the positions of its window, called *taps*, nine for a window of
# 3×3, and at each tap over $C$ channels. So the channels of every pixel are packed, and the words of nine pixels
# meet the words of nine taps.
#
# At the border, taps lie outside the image. In float networks they read 0 and contribute nothing. But a bit is
# $+1$ or $-1$; there is no 0! Reading bits of 0 there would mean $-1$ in every channel. The tap must be left
# out:


# %%
def xnor_conv(x, w):
    """x (C, H, W), w (O, C, 3, 3), padding 1 -> the integers of sign x * sign w, (O, H, W)."""
    channels, height, width = x.shape
    weights = pack(w.transpose(0, 2, 3, 1))  # (O, 3, 3, K)
    image = np.zeros((height + 2, width + 2, weights.shape[-1]), np.uint64)
    image[1:-1, 1:-1] = pack(x.transpose(1, 2, 0))
    inside = np.zeros((height + 2, width + 2), bool)
    inside[1:-1, 1:-1] = True
    y = np.zeros((len(w), height, width), np.int64)
    for i, j in np.ndindex(3, 3):
        window = np.s_[i : i + height, j : j + width]  # what tap (i, j) sees
        differing = np.bitwise_count(weights[:, None, None, i, j] ^ image[window])  # (O, H, W, K)
        tap = channels - 2 * differing.sum(axis=-1, dtype=np.int64)
        y += np.where(inside[window], tap, 0)
    return y


def xnor_bnas(x, w, **changes):
    settings = {"beta": None, "stride": (1, 1), "padding": (1, 1), "dilation": (1, 1), "groups": 1}
    return kernels.xnor_conv2d(x[None], w, **(settings | changes))[0]


# %%
for channels, height in ((1, 5), (64, 8), (100, 7), (200, 6)):
    x = rng.standard_normal((channels, height, height + 1))
    w = rng.standard_normal((8, channels, 3, 3))
    signs = [np.where(v > 0, 1.0, -1.0) for v in (x[None], w)]
    floats = F.conv2d(*signs, padding=1).numpy()[0]  # zeros around the signs
    ours, theirs = xnor_conv(x, w), xnor_bnas(x, w)
    same = np.array_equal(ours, floats) and np.array_equal(ours, theirs)
    print(f"{channels:3} channels: ours, bnas and the float convolution of signs are equal: {same}")

# %% [markdown]
# Three ways, one integer, borders included. A compiled kernel does not want the `np.where`. It counts all taps,
# the outside ones too, with image bits of 0 there, and corrects afterwards. At an outside tap the xor of 0 with
# the weights is the weights, so what was counted by mistake is the number of ones in that tap's weights, $q_t$,
# known beforehand. With $T$ taps inside and $D$ the total count,
#
# $$\sum_{t\ \text{inside}} (C - 2 d_t) = C\, T - 2\Big(D - \sum_{t\ \text{outside}} q_t\Big)
#   = \underbrace{C\, T + 2 \sum_{t\ \text{outside}} q_t}_{\text{offset}} - 2D .$$
#
# The offset depends on nothing but which taps are outside, for which there are only nine possibilities in a 3×3
# window: four corners, four edges, the middle. `bnas` keeps a table of them, and the exact zeros cost one look-up
# for each result. `prepare` makes it from the weights, before any image comes. Here it is for a layer of eight
# output channels, beside ours:

# %%
w = rng.standard_normal((8, 64, 3, 3))
product = prepare(w, (7, 7), Window((3, 3), padding=(1, 1)), groups=1)
outside = product.site.outside  # (cases, 9): which taps lie outside
ones = np.bitwise_count(pack(w.transpose(0, 2, 3, 1))).sum(axis=-1, dtype=np.int64)
ones = ones.reshape(8, 9)  # q of every output channel and tap
offsets = 64 * (~outside).sum(axis=1)[:, None] + 2 * outside @ ones.T
print(f"{len(outside)} cases, with so many taps outside:", outside.sum(axis=1))
print("offsets equal to those of bnas:", np.array_equal(offsets, product.offsets[0]))

# %% [markdown]
# ## The scale β, by least squares
#
# Signs have lost the size of the weights. A 1-bit convolution gives it back with one positive number for every
# output channel. For inputs $\hat a$, real numbers, its outputs are (Eq. 4.22 of the book that `bnas` follows; it
# is named at the end)
#
# $$\hat a_{\text{out}} = \beta \circ (b^a \odot b^w), \qquad b^a = \operatorname{sign} \hat a,\quad
#   b^w = \operatorname{sign} \hat w .$$
#
# Here $\odot$ is the convolution of signs that we have just built, and $\circ$ multiplies every output channel by
# its own $\beta$. Which number? The one with which $\beta\, b^w$ comes closest to $\hat w$. How far it stays away
# is the *reconstruction loss* of Eq. 4.23; for one channel with $n$ weights
#
# $$L_R = \sum_i (\hat w_i - \beta b_i)^2 = \sum_i \hat w_i^2 - 2\beta \sum_i \hat w_i b_i + n \beta^2,$$
#
# because $b_i^2 = 1$. For any $\beta > 0$ the signs that make it smallest are those that make
# $\sum_i \hat w_i b_i$ largest: $b_i = \operatorname{sign} \hat w_i$, and the sum becomes $\sum_i |\hat w_i|$.
# What remains is a parabola in $\beta$, with
#
# $$\frac{\partial L_R}{\partial \beta} = -2 \sum_i |\hat w_i| + 2 n \beta = 0
#   \quad\Longrightarrow\quad \beta = \frac1n \sum_i |\hat w_i| = \operatorname{mean} |\hat w| ,$$
#
# and there $L_R = \sum_i \hat w_i^2 - n\beta^2$. Draw it, for one channel of Gaussian weights:

# %%
w = rng.standard_normal((1, 64, 3, 3)) * 0.1
b = np.where(w > 0, 1, -1)
flipped = np.where(rng.random(w.shape) < 0.1, -b, b)
betas = np.linspace(0, 0.18, 100)
right, wrong = ([((w - beta * s) ** 2).sum() for beta in betas] for s in (b, flipped))

figure = Figure(figsize=(6.2, 3.2), layout="constrained")
ax = figure.subplots()
ax.plot(betas, right, color=BLUE, label="b = sign w")
ax.plot(betas, wrong, color=ORANGE, linestyle="--", label="a tenth of the signs wrong")
ax.axvline(abs(w).mean(), color="#999999", linewidth=1, label="mean |w|")
for beta in (0.02, 0.08, 0.14):
    ax.plot(beta, F.reconstruction_loss(w, np.array([beta])).item(), "o", color=BLACK)
ax.set(xlabel=r"scale $\beta$", ylabel=r"$L_R$", ylim=(0, None))
ax.legend(frameon=False)
figure

# %% [markdown]
# The lower parabola has its minimum at the grey line. With wrong signs the curve lies higher, and its best $\beta$
# is smaller. The black dots are `F.reconstruction_loss`, and lie on our curve. The minimum is far from zero. Which
# share of the sum of squares $\sum_i \hat w_i^2$ is lost?

# %%
layer = rng.standard_normal((32, 64, 3, 3)) * rng.uniform(0.05, 0.3, (32, 1, 1, 1))
beta = abs(layer).mean(axis=(1, 2, 3))
print("beta equal to bnas:", np.allclose(beta, F.channel_scale(layer), rtol=1e-14))
scales = {"a scale for each channel": beta[:, None, None, None], "one for the layer": beta.mean()}
for name, scale in scales.items():
    rest = layer - scale * np.where(layer > 0, 1, -1)
    print(f"{name:25} lost: {(rest**2).sum() / (layer**2).sum():.1%}")
print(f"{'Gaussian weights, theory':25} lost: {1 - 2 / np.pi:.1%}")

# %% [markdown]
# The theory: for Gaussian weights of standard deviation $\sigma$,
# $\operatorname{mean}|\hat w| \to \sigma\sqrt{2/\pi}$, so the share that is lost is
# $1 - \beta^2/\sigma^2 = 1 - 2/\pi$. It does not depend on $\sigma$, but a single scale for channels of different
# size loses more. More than a third is a lot; training has to find weights that can bear it.
#
# Now the layer of Eq. 4.22 is whole: integers, times $\beta$. Ours and that of the library, in float32:

# %%
x = rng.standard_normal((100, 9, 9)).astype(np.float32)
w = rng.standard_normal((8, 100, 3, 3)).astype(np.float32)
ours = xnor_conv(x, w).astype(np.float32) * F.channel_scale(w)[:, None, None]
theirs = F.xnor_conv2d(x[None], w, padding=1).numpy()[0]
print("equal, to the last bit:", np.array_equal(ours, theirs))

# %% [markdown]
# ### β belongs after the sum
#
# In exact arithmetic $\beta \sum_i b_i b'_i = \sum_i (\beta b_i)\, b'_i$. In floats it is not so. On the left an
# exact integer is scaled, and rounded once. On the right is a sum of $\pm\beta$ that is rounded at every step.
# Most of the time the difference is a few units in the last digit, and nobody cares. But the *next* layer takes
# a sign, and an integer of 0 is common:

# %%
n, beta = 64, np.float32(0.1)
products = np.where(rng.random((100_000, n)) < 0.5, 1, -1)  # of signs; a sum in each row
tie = products.sum(axis=1) == 0
after = beta * products[tie].sum(axis=1)
terms = beta * products[tie].astype(np.float32)
inside = np.cumsum(terms, axis=1)[:, -1]  # adds one after another, in float32
backwards = np.cumsum(terms[:, ::-1], axis=1)[:, -1]
print(f"integers that are 0: {tie.mean():.1%}. Of these, not 0 after scaling:")
print(f"  beta after the sum {np.mean(after != 0):.1%}")
print(f"  beta inside        {np.mean(inside != 0):.1%}, the largest is {inside.max():.1e}")
print(f"another sign if summed from the other end: {np.mean((inside > 0) != (backwards > 0)):.0%}")

# %% [markdown]
# With $\beta$ after the sum a tie is 0, and its sign is $-1$ by the rule of tutorial 3. With $\beta$ inside, a
# tie is a rounding error, whose sign depends on the order in which the numbers were added. Another layout in
# memory, another number of threads, and bits of the next layer change, and with them the result. In `bnas` the
# sum is an integer on every path.
#
# ## The race
#
# How fast is it? A measurement is easily unfair, so first the rules. Everybody gets the same data, and those who
# should compute the same are seen to do so. Everybody is called before the clock runs, as the first call compiles
# or fills caches. Contenders take turns, so that a busy moment of the machine hits all of them. The number of
# threads is stated, here one. The median of several measurements is told, since means are ruined by a single
# interruption. What you read in the file was measured on the machine that is named there. Run the cells, and it is
# yours.


# %%
def race(contenders, repeats=9, least=0.004):
    """{name: function} -> {name: seconds of a call, (repeats,)}; the contenders take turns."""
    calls, seconds = {}, {name: [] for name in contenders}
    for name, call in contenders.items():
        call()  # warms up
        start = time.perf_counter()
        call()
        calls[name] = 1 + int(least / (time.perf_counter() - start))  # short ones several times
    for _ in range(repeats):
        for name, call in contenders.items():
            start = time.perf_counter()
            for _ in range(calls[name]):
                call()
            seconds[name].append((time.perf_counter() - start) / calls[name])
    return {name: np.array(values) for name, values in seconds.items()}


# %% [markdown]
# `bnas.bench.race` does this with some more care. First products: 256 vectors times 256 vectors of $n = 1{,}152$
# signs, by BLAS in float32 (the fastest that NumPy has), by our NumPy on bits, and by the compiled kernel on
# bits.

# %%
machine = machine_record()
vectors = {"avx512vpopcntdq", "neon"} & set(machine["features"] or ())
print(f"{machine['cpu']}, popcounts of whole vectors: {'yes' if vectors else 'no'}")
n = 1152
x, y = (np.float32(rng.choice([-1, 1], (256, n))) for _ in range(2))
a, b = pack(x), pack(y)
products = {
    "float32, BLAS": lambda: x @ y.T,
    "bits, NumPy": lambda: popcount_matmul(a, b, n),
    "bits, compiled": lambda: kernels.xnor_matmul(a, b, n),
}
results = [call() for call in products.values()]
print("same results:", all(np.array_equal(results[0], result) for result in results))
with threads(1):
    seconds = {name: np.median(values) for name, values in race(products).items()}
for name, value in seconds.items():
    rate = 256 * 256 * n / value / 1e9
    print(f"{name:15} {1e6 * value:7.0f} µs, {rate:7.1f} G products of signs a second")

# %% [markdown]
# (`threads(1)` limits our kernels, and BLAS too where threadpoolctl is installed.) Compare the last two rows.
# They make the same xors and popcounts, 64 times fewer than the multiplications of the first, and are far apart.
# NumPy writes every intermediate word and count to memory, and reads it again. Fewer operations are worth
# something only if it is operations that one waits for. This is the idea of the roofline.
#
# ## The roofline
#
# A program needs operations, and it needs data. If a machine computes at most $P$ operations a second, and moves
# at most $B$ bytes a second, then a program that computes $I$ operations for each byte that it moves runs at no
# more than
#
# $$\min(P,\ I \cdot B)$$
#
# operations a second. $I$ is its *intensity*. Drawn over $I$ on logarithmic axes, the bound looks like a roof: a
# slope, where memory is the limit, and a flat part, where arithmetic is.
#
# We measure the roofs of your machine, on one thread. $B$: copying a large array. $P$ for floats: a product of two
# large matrices by BLAS, in multiply-adds. $P$ for bits: a compiled loop that does nothing but popcounts on
# numbers that are in registers already (`bnas/bench/peak.py`), times 64, as a word holds 64 products. The
# contenders are convolutions of 3×3 that take floats and give floats: an ordinary one, 128 channels to 128, and a
# *depthwise* one, in which every channel meets its own window alone. Each is there as a float and as a 1-bit
# convolution. These two do not compute the same: the question is what a layer gains that is made 1-bit.

# %%
height, channels, taps = 28, 128, 9
images = rng.standard_normal((1, channels, height, height)).astype(np.float32)
filters = rng.standard_normal((channels, channels, 3, 3)).astype(np.float32)
each = rng.standard_normal((channels, 1, 3, 3)).astype(np.float32)
one = (1, 1)


def by_blas():
    """The convolution as one product of matrices: the windows are copied side by side first."""
    padded = np.pad(images[0], ((0, 0), one, one))
    windows = np.lib.stride_tricks.sliding_window_view(padded, (3, 3), axis=(1, 2))
    return filters.reshape(channels, -1) @ windows.transpose(0, 3, 4, 1, 2).reshape(
        channels * taps, -1
    )


kernel = kernels.conv2d(images, filters, None, one, one, one, 1)
print("same results:", np.allclose(by_blas().reshape(kernel.shape), kernel, atol=1e-2))

# %%
large, copy = np.ones(2**23, np.float32), np.empty(2**23, np.float32)
square = rng.standard_normal((1024, 1024)).astype(np.float32)
words, count = popcounts(1)
roofs = {
    "copy": lambda: np.copyto(copy, large),
    "matrices": lambda: square @ square,
    "popcounts": count,
}
convolutions = {
    "float, BLAS": by_blas,
    "float, kernel": lambda: kernels.conv2d(images, filters, None, one, one, one, 1),
    "1-bit": lambda: kernels.xnor_conv2d(images, filters, None, one, one, one, 1),
    "packing weights": lambda: kernels.pack_bits(filters),
    "depthwise float": lambda: kernels.depthwise_conv2d(images, each, one, one, one),
    "depthwise 1-bit": lambda: kernels.xnor_conv2d(images, each, None, one, one, one, channels),
}

# %%
with threads(1):
    measured = race(roofs | convolutions)
seconds = {name: np.median(measured[name]) for name in convolutions}
for name, value in seconds.items():
    print(f"{name:16} {1e6 * value:6.0f} µs")
seconds["float"] = min(seconds["float, BLAS"], seconds["float, kernel"])  # the better one
ratio = seconds["float"] / seconds["1-bit"]
print(f"1-bit: {ratio:.1f} times as fast as the better float convolution")
ratio_depthwise = seconds["depthwise float"] / seconds["depthwise 1-bit"]
print(f"depthwise 1-bit: {ratio_depthwise:.1f} times as fast as depthwise float")

# %% [markdown]
# The times of the convolutions are medians. For the roofs we take the fastest measurement, for a roof is a
# limit.

# %%
bandwidth = 2 * large.nbytes / measured["copy"].min()
peaks = {
    "float": 1024**3 / measured["matrices"].min(),
    "1-bit": 64 * words / measured["popcounts"].min(),
}
points = {}  # name: (products a byte, products a second)
for name in ("float", "1-bit", "depthwise float", "depthwise 1-bit"):
    weights = each if name.startswith("depthwise") else filters
    products = weights.size * height**2
    moved = 2 * images.nbytes + weights.nbytes  # floats in, floats out, also for 1 bit
    points[name] = products / moved, products / seconds[name]
for name, (intensity, rate) in points.items():
    kind = name.split()[-1]
    roof, limit = min((peaks[kind], "arithmetic"), (intensity * bandwidth, "memory"))
    print(f"{name:16} {intensity:6.1f} products a byte, {rate / 1e9:6.0f} G a second;", end=" ")
    print(f"roof {roof / 1e9:6.0f} G, of {limit}")

# %% tags=["picture"]
figure = Figure(figsize=(6.9, 4.4), layout="constrained")
ax = figure.subplots()
intensities = np.geomspace(0.3, 2000, 200)
colors = {"1-bit": ORANGE, "float": BLUE}
for kind, color in colors.items():
    roof = np.minimum(peaks[kind], intensities * bandwidth)
    dashes = "-" if kind == "1-bit" else "--"
    ax.plot(intensities, roof / 1e9, color=color, linestyle=dashes, label=f"roof, {kind}")
for name, (intensity, rate) in points.items():
    marker = "s" if name.startswith("depthwise") else "o"
    color, label = colors[name.split()[-1]], f"{name} convolution"
    ax.plot(intensity, rate / 1e9, marker, color=color, markersize=8, label=label)
ax.set(xscale="log", yscale="log")
ax.set(xlabel="products for each byte moved", ylabel="G products a second, one thread")
ax.grid(color="#DDDDDD", linewidth=0.6)
figure.legend(loc="outside lower center", ncols=3, frameon=False, fontsize=9)
figure

# %% [markdown]
# See how far each point lies below its own roof, and below which part of it. The two roofs have the same slope,
# and differ in how high the flat part begins. There, at the right, words of 64 signs are counted while floats are
# multiplied a few at a time, so the roof for bits is far higher. The ordinary convolutions stand there, or near
# the edge, one above the other; what signs can gain is the ratio of the two peaks, which the next cell prints.
#
# The depthwise pair stands at the left, at about one product for each byte. The slope is the same for both: with
# floats going in and coming out, no number of bits raises it. What remains between a point and its roof is what
# else the kernel does. Bits help a depthwise convolution when *images* stay packed from one 1-bit layer to the
# next. That divides the bytes by 32 and moves the point far to the right; a packed network does it
# (`docs/packed.md`).
#
# Two warnings. The slope is that of the main memory, and images as small as these may stay in the processor's
# cache, which is faster; so a point may lie above the slope. A point above the flat part would mean that the
# roof was measured in a busy moment: run the cells again.

# %%
possible = peaks["1-bit"] / peaks["float"]
print(f"ratio of the peaks: {possible:.0f}; reached by the convolution: {ratio:.1f}")
shares = {kind: points[kind][1] / peaks[kind] for kind in peaks}
print(f"share of its own peak: float {shares['float']:.0%}, 1-bit {shares['1-bit']:.0%}")

# %% [markdown]
# "64 signs in a word" does not mean 64 times as fast. Floats come in vectors too: a processor multiplies and adds
# 4, 8 or 16 float32 numbers with one instruction. And a convolution reaches only a share of its own peak, printed
# last. The peak of bits is that of popcounts alone, yet every word also takes an xor and an addition; images have
# to be packed, and results written as floats; here the weights too are packed anew in each call, as they are in
# training (how long that takes was measured above). Tables for more shapes, with PyTorch beside them:
# `docs/packed.md`; on your machine: `bnas bench --only kernels`.
#
# ## What goes wrong
#
# **Mistake 1: XNOR, literally.** The method is called XNOR, so why not count where bits agree?
# $a \cdot b = 2 \operatorname{popcount}(a \operatorname{xnor} b) - n$.

# %%
for n in (64, 100, 128):
    x, y = rng.standard_normal((1, n)), rng.standard_normal((1, n))
    agreeing = np.bitwise_count(~(pack(x) ^ pack(y))).sum(dtype=np.int64)
    truth = popcount_matmul(pack(x), pack(y), n)[0, 0]
    print(f"n = {n:3}: by xnor {2 * agreeing - n:3}, in truth {truth:3}")

# %% [markdown]
# Unused bits agree. The symptom: right for 64 and 128 channels, too large by twice the unused bits for 100, and
# always too large by the same number, so that a batch norm behind it may hide the fault for long.
#
# **Mistake 2: unsigned arithmetic.** `np.bitwise_count` gives uint8, and words are uint64. Neither can be
# negative:

# %%
x, y = np.ones((1, 320)), -np.ones((1, 320))  # all 320 signs differ
counts = np.bitwise_count(pack(x) ^ pack(y))
print("counts", counts, counts.dtype)
print("added as uint8:          ", 320 - 2 * int(np.add.reduce(counts[0], dtype=np.uint8)))
print("subtracted as uint64:    ", 320 - 2 * counts.sum(axis=1, dtype=np.uint64))
print("with dtype=np.int64:     ", 320 - 2 * counts.sum(axis=1, dtype=np.int64))

# %% [markdown]
# Small tests pass, since up to 255 fits into eight bits, and a dot product that is positive survives uint64. The
# symptom is a huge positive number, or one that is off by a multiple of 512.
#
# **Mistake 3: a padded tap is a bit of 0, so it is $-1$.** We leave the padding as it is and count everything:

# %%
x, w = rng.standard_normal((64, 12, 12)), rng.standard_normal((200, 64, 3, 3))
minus = np.full((64, 14, 14), -1.0)
minus[:, 1:-1, 1:-1] = x  # a border of -1 is what bits of 0 mean
wrong = xnor_bnas(minus, w, padding=(0, 0))
error = np.abs(wrong - xnor_bnas(x, w)).mean(axis=0)

figure = Figure(figsize=(4.6, 3.4), layout="constrained")
ax = figure.subplots()
picture = ax.imshow(error, cmap="viridis")
figure.colorbar(picture, label="mean absolute error of the integers")
ax.set(xlabel="column, pixels", ylabel="row, pixels")
figure

# %% [markdown]
# The inside is exact, the outermost pixels are wrong, and the corners most of all, where five of nine taps are
# outside. There the error is a sum of $5 \cdot 64 = 320$ random signs, whose absolute value is
# $\sqrt{320 \cdot 2/\pi} \approx 14$ in the mean; at an edge it is a sum of 192, about 11. Corners differ by the
# chance of the weights. Such a network still trains, since it trains with the fault. The symptom comes when the
# weights are used elsewhere: a float reference and the packed network then disagree at the borders alone. Small
# images suffer most: of 4×4 pixels, 12 touch the border.
#
# ## Exercises
#
# **Exercise 1.** Write the dot product of two sign vectors that are packed in Python's integers. The lowest $n$
# bits are the signs; the bits above them may hold *anything*. (`int.bit_count()` is popcount.)


# %% tags=["exercise-1"]
def integer_dot(a, b, n): ...


# %% tags=["check-1"]
def examine_1(answer):
    rng = np.random.default_rng(11)
    for n in (1, 5, 8, 64, 100, 257):
        signs = rng.choice([-1, 1], (2, n))
        clean = [bits_of(v) for v in signs]
        filled = [v + (int(rng.integers(1, 2**20)) << n) for v in clean]
        for what, (a, b) in (("0", clean), ("anything", filled)):
            fault = difference(answer(a, b, n), int(signs[0] @ signs[1]))
            if fault:
                return f"with n = {n} and {what} in the bits above: {fault}"


check(1, integer_dot, examine_1)

# %% [markdown]
# **Exercise 2.** Not every weight matters equally. Let $h_i > 0$ say how much an error of weight $i$ costs, and
# minimise $\sum_i h_i (\hat w_i - \beta \operatorname{sign} \hat w_i)^2$ for each channel. Derive $\beta$ as
# above, and write it.


# %% tags=["exercise-2"]
def weighted_scale(w, h):
    """w, h (Cout, ...) -> beta (Cout,)."""
    ...


# %% tags=["check-2"]
def examine_2(answer):
    rng = np.random.default_rng(12)
    for shape in ((1, 10), (4, 3, 3, 3), (7, 20)):
        w, h = rng.standard_normal(shape), rng.uniform(0.1, 5, shape)
        beta = np.asarray(answer(w.copy(), h.copy()), float)
        if beta.shape != shape[:1]:
            return f"for w of shape {shape} expected {shape[:1]}, got {beta.shape}"
        if not np.isfinite(beta).all():
            return f"for w of shape {shape} it is {beta}"

        def cost(beta):
            rest = w - np.where(w > 0, 1, -1) * beta.reshape(-1, *[1] * (len(shape) - 1))
            return (h * rest**2).reshape(len(w), -1).sum(axis=1)

        for step in (-1e-3, 1e-3):
            better = cost(beta + step) < cost(beta)
            if better.any():
                o = int(np.argmax(better))
                return (
                    f"channel {o} of w {shape}: {beta[o]:.4f} costs more than {beta[o] + step:.4f}"
                )


check(2, weighted_scale, examine_2)

# %% [markdown]
# **Exercise 3.** *Ternary* weights are $-1$, $0$ or $+1$. They are stored as two bits: in `mask` a 1 where the
# weight is not 0, and in `words` its sign, as here; where the mask is 0, `words` may hold *anything*. The inputs
# `a` are signs. Write the products of all pairs. (A tap outside the image is the same with a mask of 0.)


# %% tags=["exercise-3"]
def ternary_matmul(a, words, mask):
    """a (M, K), words and mask (N, K), uint64 -> integers (M, N)."""
    ...


# %% tags=["check-3"]
def examine_3(answer):
    rng = np.random.default_rng(13)
    for m, count, n in ((3, 4, 20), (5, 2, 64), (4, 6, 200), (2, 3, 700)):
        x, w = rng.standard_normal((m, n)), rng.choice([-1, 0, 1], (count, n), p=[0.6, 0.3, 0.1])
        x[0], w[0] = 1, -1  # every sign differs
        words = pack(w) | (
            pack(rng.standard_normal((count, n))) & ~pack(np.abs(w))
        )  # anything where w is 0
        result = answer(pack(x), words, pack(np.abs(w)))
        fault = difference(result, np.where(x > 0, 1, -1) @ w.T)
        if fault:
            return f"with n = {n}: {fault}"


check(3, ternary_matmul, examine_3)

# %% [markdown]
# ## Where to read on
#
# * `bnas/reference.py`: `pack_bits`, `xnor_matmul`, `xnor_conv2d` in plain NumPy, what every kernel is tested
#   against.
# * `bnas/kernels/xnor.py`: the same, fast; `border_offsets` is the table of the padding.
#   `bnas/kernels/packing.py` packs, `bnas/kernels/tiles.py` counts. `docs/packed.md`, *What bounds it*, is the
#   roofline in numbers.
# * `bnas/functional/binarise.py`: `channel_scale`, `reconstruction_loss`, `xnor_conv2d` with its backward.
#   `docs/method.md`, *A 1-bit network at its ties*.
# * Next: tutorial 5, a 1-bit CNN from training to the packed file.
# * Zhang, Xu, Lin, Wang, Doermann, *Binary neural networks: algorithms, architectures, and applications* (2024),
#   section 4.4: the book whose equation numbers these tutorials use. `docs/method.md` lists them all.
# * Rastegari et al., *XNOR-Net* (2016, arXiv 1603.05279), the scale by least squares; Courbariaux et al.,
#   *Binarized neural networks* (2016, 1602.02830), XNOR and popcount; Williams, Waterman, Patterson, *Roofline*
#   (Communications of the ACM 52(4), 2009); Warren, *Hacker's Delight*, on counting bits.
