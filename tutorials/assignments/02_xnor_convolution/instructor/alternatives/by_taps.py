"""One tap after another, each where it lies inside: nothing has to be corrected. Plain loops elsewhere."""

import numpy as np


def fit(size, kernel, stride, padding):
    return (size + 2 * padding - kernel + stride) // stride


def windows(image, kernel, stride, padding):
    n, h, w, k = image.shape
    rows, columns = fit(h, kernel[0], stride, padding), fit(w, kernel[1], stride, padding)
    out = np.zeros((n, rows, columns, *kernel, k), np.uint64)
    for r, q, i, j in np.ndindex(rows, columns, *kernel):
        row, column = stride * r + i - padding, stride * q + j - padding
        if 0 <= row < h and 0 <= column < w:
            out[:, r, q, i, j] = image[:, row, column]
    return out


def offsets(weights, channels, size, stride, padding):
    o, kh, kw, k = weights.shape
    shape = fit(size[0], kh, stride, padding), fit(size[1], kw, stride, padding)
    out = np.zeros((o, *shape), np.int32)
    for f, r, q in np.ndindex(*out.shape):
        for i, j in np.ndindex(kh, kw):
            row, column = stride * r + i - padding, stride * q + j - padding
            if 0 <= row < size[0] and 0 <= column < size[1]:
                out[f, r, q] += channels
            else:
                out[f, r, q] += 2 * sum(int(word).bit_count() for word in weights[f, i, j])
    return out


def pack(bits):
    """Booleans along the first axis as words (K, ...)."""
    bits = np.pad(bits, [(0, -len(bits) % 64)] + [(0, 0)] * (bits.ndim - 1))
    octets = np.packbits(bits, axis=0, bitorder="little")
    octets = np.moveaxis(octets.reshape(-1, 8, *octets.shape[1:]), 1, -1)
    return np.ascontiguousarray(octets).view("<u8")[..., 0]


def inside(tap, size, positions, stride, padding):
    """Of one axis, the positions at which a tap lies inside, and the pixels that it then sees; two slices."""
    first = max(0, -(-(padding - tap) // stride))
    end = min(positions, (size - 1 + padding - tap) // stride + 1)
    start = stride * first + tap - padding
    return slice(first, max(end, first)), slice(start, start + stride * max(end - first, 0), stride)


def xnor_conv(x, w, stride, padding):
    n, c, height, width = x.shape
    o, _, kh, kw = w.shape
    rows, columns = fit(height, kh, stride, padding), fit(width, kw, stride, padding)
    image, filters = pack(x.swapaxes(0, 1) > 0), pack(w.swapaxes(0, 1) > 0)
    y = np.zeros((o, n, rows, columns), np.int64)
    for i, j in np.ndindex(kh, kw):
        down, seen_rows = inside(i, height, rows, stride, padding)
        across, seen_columns = inside(j, width, columns, stride, padding)
        pixels = image[:, :, seen_rows, seen_columns]
        if not pixels.size:
            continue
        part = y[:, :, down, across]
        part += c
        for words, taps in zip(pixels, filters[:, :, i, j]):
            part -= 2 * np.bitwise_count(words ^ taps[:, None, None, None]).astype(np.int16)
    return y.swapaxes(0, 1)
