"""Where a sliding window looks: the one description of it that all tables are made from."""

import math
import os
from functools import lru_cache
from typing import NamedTuple

import numpy as np

MOST_PIXELS = 2**31 - 1  # of a padded image: more cannot be counted in int32


def _memory():
    """Bytes of memory that this machine has; 2⁴⁰ where the system does not say."""
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, OSError, ValueError):
        return 2**40


MEMORY = _memory()


class Window(NamedTuple):
    """A sliding window; all but `skip` are pairs (height, width).

    Attributes:
        kernel, stride, padding, dilation: as in torch.nn.functional.conv2d.
        skip: how many of the first rows and columns of outputs are left out. A factorised reduction
            needs it: its second half has a padding of 1 and a skip of 1, so that it begins at the
            second pixel and sees zeros beyond the last.
    """

    kernel: tuple
    stride: tuple = (1, 1)
    padding: tuple = (0, 0)
    dilation: tuple = (1, 1)
    skip: int = 0

    def bounded(self, size):
        """The same Window for images of `size` (H, W), its stride and dilation no larger than they need be.

        A stride beyond the last window is cut to one that is just beyond it, and one tap needs no dilation: so
        what is multiplied with a stride or a dilation stays about as large as the padded image.
        """
        room = (n - 1 for n in self._replace(stride=(1, 1), skip=0).out_size(size))
        return self._replace(
            stride=tuple(min(s, max(r, 0) + 1) for s, r in zip(self.stride, room)),
            dilation=tuple(d if k > 1 else 1 for k, d in zip(self.kernel, self.dilation)),
        )

    def out_size(self, size):
        """(height, width) of the output for images of `size` (H, W); below 1 where nothing fits."""
        (h, w), ((kh, kw), (sh, sw), (ph, pw), (dh, dw), skip) = size, self
        return output_size(h, kh, sh, ph, dh) - skip, output_size(w, kw, sw, pw, dw) - skip

    def seen(self, size):
        """What the taps see: for each axis int64 (outputs, taps), the pixel, inside the image or not."""
        axes = zip(self.out_size(size), self.kernel, self.stride, self.padding, self.dilation)
        return tuple(
            (np.arange(n)[:, None] + self.skip) * s - p + np.arange(k) * d for n, k, s, p, d in axes
        )

    def taps_inside(self, size):
        """For each axis bool (outputs, taps): whether the tap lies inside the image there."""
        return tuple((at >= 0) & (at < n) for at, n in zip(self.seen(size), size))


@lru_cache(maxsize=512)  # asked anew by every convolution of every step
def fitted(window, shape, operation, itemsize=4):
    """The Window, `bounded`, for images of `shape` (N, C, H, W), if it fits them.

    Raises:
        ValueError: the window is larger than the padded image, or memory does not hold padded images.
    """
    bounded = window.bounded(shape[2:])
    padded = tuple(n + 2 * p for n, p in zip(shape[2:], window.padding))
    if min(bounded.out_size(shape[2:])) < 1:
        extent = tuple(d * (k - 1) + 1 for k, d in zip(window.kernel, window.dilation))
        raise ValueError(
            f"{operation}: a window of {extent} (kernel {window.kernel}, dilation {window.dilation}) does "
            f"not fit the padded image of {padded}; use a smaller window or more padding"
        )
    pixels, images = math.prod(padded), max(shape[0] * shape[1], 1)
    if pixels > MOST_PIXELS or images * pixels * itemsize > MEMORY:
        raise ValueError(
            f"{operation}: images of {tuple(shape)} padded to {padded} pixels do not fit into memory; "
            f"use less padding than {window.padding}, or smaller images"
        )
    return bounded


POINT = Window((1, 1))  # the window of a pointwise operation: each output sees one pixel


def output_size(size, kernel, stride, padding, dilation):
    """Number of window positions along one axis (all five are ints)."""
    return (size + 2 * padding - dilation * (kernel - 1) - 1) // stride + 1
