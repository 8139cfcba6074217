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
    raise NotImplementedError("this part is yours")


def offsets(weights, channels, size, stride, padding):
    """The integers from which 2D is subtracted to get a convolution with exact borders (README, equation 3).

    D counts all bits in which a window and the filter differ, those of pixels outside of the image too, whose
    words are 0.

    weights: uint64 (O, Kh, Kw, K), packed filters; bits beyond the channels are 0. channels: int.
    size: (H, W) of the image without padding. stride, padding: as in `windows`. Returns int64 (O, Ho, Wo).
    """
    raise NotImplementedError("this part is yours")


def xnor_conv(x, w, stride, padding):
    """The convolution of signs, Eq. 4.22 without its scale.

    x: floats (N, C, H, W); w: floats (O, C, Kh, Kw); of both the signs count, and sign(0) = -1. stride, padding:
    as in `windows`; a tap outside of the image contributes 0. As in all of deep learning the filter is not
    flipped: y[n, o, r, q] sums sign x[n, c, stride r + i - padding, stride q + j - padding] · sign w[o, c, i, j].
    Returns int64 (N, O, Ho, Wo), exact.
    """
    raise NotImplementedError("this part is yours")
