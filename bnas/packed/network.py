"""A 1-bit network that runs in 1 bit."""

from concurrent.futures import ThreadPoolExecutor
from threading import local

import numba
import numpy as np

from bnas.errors import InputError
from bnas.packed import files
from bnas.packed.fold import fold
from bnas.packed.plan import Plan

CHUNK = 8  # images that go through the network together: their states fit the second-level cache


class PackedNetwork:
    """The bit-packed twin of a trained network, for inference alone.

    Weights and activations of 1-bit layers are bits, batch norm and sign between them are integer
    thresholds; stem, 1×1 convolutions at the cells' inputs, pooling, sums and classifier are float32.
    Predictions are those of the network in evaluation mode.

    Args:
        model: bnas.packed.layers.Model; see `pack` and `load`.
        shape: (C, H, W) of the images.
        mean, std: of each channel of raw images (pixels 0 to 255), which normalisation took out.
        genotype: the text of the architecture.

    Give one instance to one thread at a time; it uses Numba's threads itself, on chunks of images.
    """

    def __init__(self, model, shape, mean, std, genotype):
        self.model, self.shape = model, tuple(shape)
        self.mean, self.std, self.genotype = np.asarray(mean), np.asarray(std), genotype
        self._plans, self._pools = local(), {}

    @classmethod
    def pack(cls, network, shape, mean, std, genotype=""):
        """Pack a trained bnas.network.Network; arguments as above.

        Raises:
            InputError: the network is not 1-bit, or holds NaN.
        """
        return cls(fold(network), shape, mean, std, genotype)

    @classmethod
    def load(cls, path):
        """Read what `save` wrote.

        Raises:
            InputError: the file is missing, damaged, cut short, or no packed network.
        """
        return cls(**files.load(path))

    def save(self, path):
        """Write the network to one file, whole or not at all; `bnas.packed.files` tells the format."""
        files.save(path, self.model, self.shape, self.mean, self.std, self.genotype)

    def size_table(self):
        """The size of every kind of part, in bits and against float32, as text."""
        return files.size_table(self.model)

    def __call__(self, images):
        """Logits, float32 (N, classes), of normalised images (N, C, H, W) of any real dtype.

        Raises:
            InputError: another shape, or no real numbers.
        """
        images = self._checked(images)
        logits = np.empty((len(images), len(self.model.w)), np.float32)
        chunks = range(0, len(images), CHUNK)

        def work(start):
            part = images[start : start + CHUNK]
            plan = self._plan(CHUNK if len(images) >= CHUNK else len(part))
            plan.input[: len(part)] = part
            plan.run()
            logits[start : start + CHUNK] = plan.logits[: len(part)]

        if len(chunks) > 1 and numba.get_num_threads() > 1:
            list(self._workers().map(work, chunks))
        else:
            for start in chunks:
                work(start)
        return logits

    def predict(self, images):
        """The class of each image, int64 (N,)."""
        return self(images).argmax(axis=1)

    def activations(self, images):
        """{name of a 1-bit convolution: bool (N, Cin, H, W), its input bits}, to look into the network.

        Raises:
            InputError: as for a call.
        """
        images = self._checked(images)
        plan = Plan(self.model, max(len(images), 1), self.shape)
        plan.input[: len(images)] = images
        found = {}
        for number, (kernel, arguments) in enumerate(plan.calls, start=1):
            kernel(*arguments)
            for name, (calls, bits) in plan.bits.items():
                if calls == number:
                    found[name] = bits.unpack(plan.images)[: len(images)]
        return found

    def _checked(self, images):
        images = np.asarray(images)
        if images.ndim != 4 or images.shape[1:] != self.shape:
            raise InputError(
                f"images have shape {images.shape}, expected (N, {', '.join(map(str, self.shape))})"
            )
        if images.dtype.kind not in "fiub":
            raise InputError(f"images are {images.dtype}, expected real numbers")
        return images

    def _plan(self, images):
        """This thread's plan for so many images."""
        plans = self._plans.__dict__
        if images not in plans:
            plans[images] = Plan(self.model, images, self.shape)
        return plans[images]

    def _workers(self):
        """As many threads as Numba has now."""
        threads = numba.get_num_threads()
        if threads not in self._pools:
            self._pools[threads] = ThreadPoolExecutor(threads)
        return self._pools[threads]
