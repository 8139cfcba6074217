"""Where a sliding window looks: the one description of it that all tables are made from."""

from typing import NamedTuple

import numpy as np


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


POINT = Window((1, 1))  # the window of a pointwise operation: each output sees one pixel


def output_size(size, kernel, stride, padding, dilation):
    """Number of window positions along one axis (all five are ints)."""
    return (size + 2 * padding - dilation * (kernel - 1) - 1) // stride + 1
