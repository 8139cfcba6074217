"""Without popcount where it can be done without: signs and zeros as floats, one product of matrices."""

import numpy as np


def windows(image, kernel, stride, padding):
    n, h, w, k = image.shape
    image = np.pad(image, ((0, 0), (padding, padding), (padding, padding), (0, 0)))
    tops = range(0, h + 2 * padding - kernel[0] + 1, stride)
    lefts = range(0, w + 2 * padding - kernel[1] + 1, stride)
    rows = np.array(tops)[:, None] + np.arange(kernel[0])
    columns = np.array(lefts)[:, None] + np.arange(kernel[1])
    return image[:, rows[:, None, :, None], columns[None, :, None, :]]


def offsets(weights, channels, size, stride, padding):
    bits = np.unpackbits(np.ascontiguousarray(weights).view(np.uint8), axis=-1)
    weight = channels - 2.0 * bits.sum(axis=-1)  # what a tap outside is to give less
    ones = np.ones((1, *size, 1), np.uint64)
    inside = windows(ones, weights.shape[1:3], stride, padding)[0, ..., 0]
    taps = weights.shape[1] * weights.shape[2]
    missing = np.einsum("rqij,oij->orq", 1.0 - inside, weight)
    return np.rint(channels * taps - missing).astype(np.int64)


def xnor_conv(x, w, stride, padding):
    x, w = (np.where(v > 0, np.float32(1), np.float32(-1)) for v in (x, w))
    x = np.pad(x, ((0, 0), (0, 0), (padding, padding), (padding, padding)))
    seen = np.lib.stride_tricks.sliding_window_view(x, w.shape[2:], axis=(2, 3))
    seen = seen[:, :, ::stride, ::stride].transpose(0, 2, 3, 1, 4, 5)
    y = seen.reshape(-1, w[0].size) @ w.reshape(len(w), -1).T
    return np.rint(y).astype(np.int32).reshape(*seen.shape[:3], len(w)).transpose(0, 3, 1, 2)
