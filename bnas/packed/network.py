"""The packed network: what users of trained 1-bit networks load, save and call."""

import numba
import numpy as np

from bnas.data import normalise
from bnas.errors import InputError
from bnas.kernels.threads import pool
from bnas.packed import files
from bnas.packed.fold import fold
from bnas.packed.plan import Plan
from bnas.packed.steps import fold_module
from bnas.space.network import Network


class PackedNetwork:
    """A trained 1-bit network packed into bits, for inference alone.

    Weights and activations of 1-bit layers are bits, batch norm and sign between them are integer
    thresholds; stem, 1×1 convolutions at the cells' inputs, pooling, sums and classifier are float32.
    Predictions are those of the network in evaluation mode.

    Args:
        model: bnas.packed.layers.Model or PackedSteps; see `pack` and `load`.
        shape: (C, H, W) of the images.
        mean, std: of each channel of raw images (pixels 0 to 255), for their normalisation.
        genotype: the text of the architecture, "" for none.

    A call uses several threads, with an image each at a time: its states fit the second-level cache. Any number
    of threads may call an instance at a time.
    """

    def __init__(self, model, shape, mean, std, genotype):
        self.model, self.shape = model, tuple(shape)
        self.mean, self.std, self.genotype = np.asarray(mean), np.asarray(std), genotype
        self._idle = []  # plans for one image that no call has

    @classmethod
    def pack(cls, network, shape, mean, std, genotype=""):
        """Pack a trained 1-bit network: that of a genotype, or any nn.Module; arguments as above.

        Raises:
            InputError: the network is not 1-bit, or holds NaN; or a part of it, which is named, cannot be packed.
        """
        is_network = isinstance(network, Network)
        model = fold(network) if is_network else fold_module(network, shape)
        return cls(model, shape, mean, std, genotype)

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

    def __repr__(self):
        shape = " x ".join(map(str, self.shape))
        return f"PackedNetwork({len(self.model.w)} classes, images of {shape})"

    def __call__(self, images):
        """Logits, float32 (N, classes), of images (N, C, H, W) of any real dtype.

        uint8 images are raw pixels and are normalised here; all others have been normalised.

        Raises:
            InputError: another shape, or no real numbers.
        """
        images = self._checked(images)
        logits = np.empty((len(images), len(self.model.w)), np.float32)
        numbers = iter(range(len(images)))  # which threads share: each takes the next image

        def work(plan):
            for i in numbers:
                plan.input[:] = images[i]
                plan.run()
                logits[i] = plan.logits

        plans = self._take_plans(max(1, min(numba.get_num_threads(), len(images))))
        try:
            others = [pool(len(plans) - 1).submit(work, plan) for plan in plans[1:]]
            work(plans[0])
            for other in others:
                other.cancel() or other.result()
        finally:  # after Ctrl-C or an error, too, the others end soon
            for _ in numbers:
                pass
        # In that case they may still write into the plans, and no other call gets them.
        self._idle.extend(plans)
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
        plan = Plan(self.model, self.shape)
        found = {
            name: np.empty(
                (len(images), sum(bits.channels for bits in parts), *parts[0].size), bool
            )
            for name, (_, parts) in plan.bits.items()
        }
        for i, image in enumerate(images):
            plan.input[:] = image
            for number in range(len(plan.calls)):
                for name, (calls, parts) in plan.bits.items():
                    if calls == number:
                        found[name][i] = np.concatenate([bits.unpack() for bits in parts])
                plan.run(range(number, number + 1))
        return found

    def _checked(self, images):
        images = np.asarray(images)
        if images.ndim != 4 or images.shape[1:] != self.shape:
            raise InputError(
                f"images have shape {images.shape}, expected (N, {', '.join(map(str, self.shape))})"
            )
        if images.dtype.kind not in "fiub":
            raise InputError(f"images are {images.dtype}, expected real numbers")
        if images.dtype == np.uint8:
            return normalise(images, self.mean, self.std)
        return images

    def _take_plans(self, count):
        """`count` plans for an image, the caller's alone; what there is not is made on this thread."""
        plans = []
        while len(plans) < count:
            try:
                plans.append(self._idle.pop())
            except IndexError:
                plans.append(Plan(self.model, self.shape))
        return plans
