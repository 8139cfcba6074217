"""Data sets: from files on disk to batches of float32 images.

Three data sets have a name: the `digits` bundled with bnas, and `mnist` and `cifar10`, read from
the files their authors publish. A data set of one's own comes from arrays, in Python or in an .npz
file. Every split is fixed by the order of the file, never by a random
number, so that two papers or two homeworks that say "validation" mean the same images.
"""

from bnas.data.augmentation import Augmentation
from bnas.data.batching import batches
from bnas.data.datasets import Dataset, Split, dataset_from_arrays, load_dataset, normalise
from bnas.data.formats import read_cifar10, read_idx, read_images
from bnas.data.show import ascii_image, describe

__all__ = [
    "Augmentation",
    "Dataset",
    "Split",
    "ascii_image",
    "batches",
    "dataset_from_arrays",
    "describe",
    "load_dataset",
    "normalise",
    "read_cifar10",
    "read_idx",
    "read_images",
]


def __dir__():
    return sorted(__all__)
