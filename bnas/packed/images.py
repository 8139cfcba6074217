"""An image inside a packed network: floats in panels, bits in planes, and how one becomes the other."""

from typing import NamedTuple

import numpy as np

from bnas.kernels.packing import WORD, unpack_bits
from bnas.kernels.panels import PANEL
from bnas.kernels.sites import sites
from bnas.kernels.windows import POINT


class Floats(NamedTuple):
    """A real-valued image in panels of 32 pixels, flat: panel i begins at buffer[at + i pitch]."""

    buffer: np.ndarray
    at: int
    pitch: int
    channels: int
    size: tuple

    @property
    def panels(self):
        """How many panels it has."""
        return -(-self.size[0] * self.size[1] // PANEL)

    def index(self, pixels):
        """Where each of the pixels is, from `at` on, in the first channel."""
        return pixels // PANEL * self.pitch + pixels % PANEL

    def part(self, first, count):
        """The same image, `count` channels from `first` on."""
        return self._replace(at=self.at + first * PANEL, channels=count)


class Bits(NamedTuple):
    """A packed image in a flat buffer: planes of words (words, plane), with a margin of zeros."""

    buffer: np.ndarray
    channels: int
    size: tuple
    margin: tuple

    @property
    def words(self):
        return -(-self.channels // WORD)

    @property
    def places(self):
        return interior(self.size, self.margin).interior

    @property
    def plane(self):
        return interior(self.size, self.margin).plane

    def unpack(self):
        """As bool (C, H, W)."""
        words = self.buffer.reshape(self.words, self.plane)[:, self.places]
        words = np.ascontiguousarray(words.T).reshape(1, 1, *self.size, self.words)
        return unpack_bits(words, self.channels, np.int8)[0] > 0


def interior(size, margin):
    """The Sites of planes with a margin, each pixel by itself."""
    return sites(size, POINT, margin)


def runs(source, target, step):
    """Pixels (sources and targets, int64) as runs for `kernels.floats.copy_runs`: int64 (n, 3)."""
    breaks = (np.diff(source) != step) | (np.diff(target) != 1)
    ends = [*np.flatnonzero(breaks) + 1, source.size]
    return np.array(
        [
            (source[i], target[i], min(16, end - i))
            for start, end in zip([0, *ends], ends)
            for i in range(start, end, 16)
        ],
        np.int64,
    ).reshape(-1, 3)
