"""Assignment 2: XNOR convolution with exact borders. Complete the functions; see README.md."""

import numpy as np


def pack(bits):
    """Booleans along the last axis as bits of words: (..., C) -> uint64 (..., ceil(C / 64)).

    Bit c % 64 of word c // 64 is bits[..., c]; bits beyond the end are 0. Complete: nothing to do here.
    """
    octets = np.packbits(bits, axis=-1, bitorder="little")
    fill = [(0, 0)] * (bits.ndim - 1) + [(0, -octets.shape[-1] % 8)]
    return np.ascontiguousarray(np.pad(octets, fill)).view("<u8").astype(np.uint64)


def windows(image, kernel, stride, padding):
    """What every window of an image sees.

    image: uint64 (N, H, W, K), the channels of every pixel as K words. kernel: (Kh, Kw), the size of the window.
    stride: how many pixels a window lies from the next, along rows and along columns. padding: how many pixels
    are added on each of the four sides; their words are 0. At least one window fits.
    Returns a new uint64 array (N, Ho, Wo, Kh, Kw, K); Ho and Wo count the windows that fit whole.
    """
    ### BEGIN SOLUTION
    images, height, width, words = image.shape
    rows = (height + 2 * padding - kernel[0]) // stride + 1
    columns = (width + 2 * padding - kernel[1]) // stride + 1
    padded = np.zeros((images, height + 2 * padding, width + 2 * padding, words), np.uint64)
    padded[:, padding : padding + height, padding : padding + width] = image
    seen = np.lib.stride_tricks.sliding_window_view(padded, kernel, axis=(1, 2))
    seen = seen[:, : stride * rows : stride, : stride * columns : stride]
    return seen.transpose(0, 1, 2, 4, 5, 3).copy()
    ### END SOLUTION


def offsets(weights, channels, size, stride, padding):
    """The integers from which 2D is subtracted to get a convolution with exact borders (README, equation 3).

    D counts all bits in which a window and the filter differ, those of pixels outside of the image too, whose
    words are 0.

    weights: uint64 (O, Kh, Kw, K), packed filters; bits beyond the channels are 0. channels: int.
    size: (H, W) of the image without padding. stride, padding: as in `windows`. Returns int64 (O, Ho, Wo).
    """
    ### BEGIN SOLUTION
    ones = np.bitwise_count(weights).sum(axis=-1, dtype=np.int64)  # (O, Kh, Kw)
    (height, width), kernel = size, weights.shape[1:3]
    outside = np.ones((height + 2 * padding, width + 2 * padding), bool)
    outside[padding : padding + height, padding : padding + width] = False
    down = (len(outside) - kernel[0]) // stride + 1
    across = (outside.shape[1] - kernel[1]) // stride + 1
    result = np.zeros((len(weights), down, across), np.int64)
    for i, j in np.ndindex(*kernel):
        tap = outside[i : i + stride * down : stride, j : j + stride * across : stride]
        result += np.where(tap, 2 * ones[:, i, j, None, None], channels)
    return result
    ### END SOLUTION


def xnor_conv(x, w, stride, padding):
    """The convolution of signs, Eq. 4.22 without its scale.

    x: floats (N, C, H, W); w: floats (O, C, Kh, Kw); of both the signs count, and sign(0) = -1. stride, padding:
    as in `windows`; a tap outside of the image contributes 0. As in all of deep learning the filter is not
    flipped: y[n, o, r, q] sums sign x[n, c, stride r + i - padding, stride q + j - padding] · sign w[o, c, i, j].
    Returns int64 (N, O, Ho, Wo), exact.
    """
    ### BEGIN SOLUTION
    (images, channels, height, width), kernel = x.shape, w.shape[2:]
    pixels = pack(np.moveaxis(x > 0, 1, -1))  # (N, H, W, K)
    filters = pack(np.moveaxis(w > 0, 1, -1))  # (O, Kh, Kw, K)
    border = (padding, padding)
    pixels = np.pad(pixels, ((0, 0), border, border, (0, 0)))
    beyond = np.pad(np.zeros((height, width), bool), padding, constant_values=True)
    view = np.lib.stride_tricks.sliding_window_view
    beyond = view(beyond, kernel)[::stride, ::stride]  # (Ho, Wo, Kh, Kw)
    patches = view(pixels, kernel, axis=(1, 2))[:, ::stride, ::stride]
    patches = patches.transpose(0, 1, 2, 4, 5, 3)  # (N, Ho, Wo, Kh, Kw, K)
    shape = patches.shape[:3]
    patches = patches.reshape(np.prod(shape), -1)
    inside = np.count_nonzero(~beyond, axis=(2, 3))
    y = np.empty((images, len(w), *shape[1:]), np.int64)
    for o, taps in enumerate(filters):
        missed = np.tensordot(beyond, np.bitwise_count(taps).sum(-1, dtype=np.int64))
        differ = np.bitwise_count(patches ^ taps.ravel()).sum(axis=1, dtype=np.int64)
        y[:, o] = channels * inside + 2 * missed - 2 * differ.reshape(shape)
    return y
    ### END SOLUTION
