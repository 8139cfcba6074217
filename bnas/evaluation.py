"""How good a network is: predictions, accuracy, and the table that compares networks."""

import numpy as np

from bnas import nn
from bnas.autodiff import no_grad
from bnas.optim import require_finite

BATCH = 256
BLOCK = 4096  # images of which all distances to as many others are in memory at once
PRODUCTS = 10**12  # multiplications that a search for nearest neighbours may take: some 20 seconds
NEIGHBOUR = "Nearest neighbour, pixels"


def predict(network, images):
    """Logits (N, classes) of images (N, C, H, W), batch by batch, in evaluation mode."""
    with nn.evaluating(network), no_grad():
        logits = [network(images[i : i + BATCH]).data for i in range(0, len(images), BATCH)]
    return np.concatenate(logits)


def accuracy(network, split):
    """Share of the images whose largest logit is at their label, 0 to 1.

    split: a bnas.data.Split, or a pair of arrays (images, labels).
    """
    images, labels = split if isinstance(split, (tuple, list)) else (split.images, split.labels)
    return float((predict(network, images).argmax(axis=1) == labels).mean())


def nearest_labels(known, images):
    """The label of the known image that is nearest to each image: what takes no learning at all.

    Args:
        known: pairs of images (M, C, H, W) and labels (M,).
        images: (N, C, H, W), float32 like the known ones.

    Returns:
        labels, int64 (N,). Nearest is by the Euclidean distance of pixels, computed in float32, a block of
        images against another at a time; of equals, the first.
    """
    images = images.reshape(len(images), -1)
    best, found = np.full(len(images), -np.inf, np.float32), np.zeros(len(images), np.int64)
    for pixels, labels in known:
        for first in range(0, len(pixels), BLOCK):
            block = pixels[first : first + BLOCK].reshape(-1, images.shape[1])
            # |x - k|² = |x|² - 2 (x·k - |k|²/2), and |x|² is the same for all k.
            halves = np.einsum("ij,ij->i", block, block) / 2
            for start in range(0, len(images), BLOCK):
                rows = slice(start, start + BLOCK)
                closeness = images[rows] @ block.T
                closeness -= halves
                nearest = closeness.argmax(axis=1)
                most = np.take_along_axis(closeness, nearest[:, None], axis=1)[:, 0]
                found[rows] = np.where(most > best[rows], labels[first + nearest], found[rows])
                best[rows] = np.maximum(most, best[rows])
    return found


def neighbour_accuracy(dataset):
    """Share of the test images that have the label of their nearest neighbour on pixels, 0 to 1.

    The neighbours are the images of train and validation, on which a network is trained unless some are held
    out. Where they are so many that it would take minutes, they are thinned evenly.
    """
    splits, test = (dataset.train, dataset.validation), dataset.test
    every = -(-sum(map(len, splits)) * test.images.size // PRODUCTS)
    known = [(split.images[::every], split.labels[::every]) for split in splits]
    return float((nearest_labels(known, test.images) == test.labels).mean())


def report(networks, dataset, announce=lambda label: None):
    """Compare networks, and the nearest neighbour on pixels, on the test split.

    Args:
        networks: pairs (label, network).
        dataset: bnas.data.Dataset.
        announce: called with each label before its turn.

    Returns:
        (text, figures): a table, and {label: {"test_accuracy", "low", "high", "test_images", "parameters",
        "bits"}} with the 95 % interval of Wilson (1927) for the accuracy. The nearest neighbour has neither
        parameters nor bits.

    Raises DivergedError if a prediction is NaN or infinite.
    """
    figures = {}
    for label, network in networks:
        announce(label)
        logits = predict(network, dataset.test.images)
        # Of NaN, class 0 would be the largest.
        require_finite(logits, f"a prediction of the {label}")
        figures[label] = {
            **_share(float((logits.argmax(axis=1) == dataset.test.labels).mean()), dataset),
            "parameters": nn.parameter_count(network),
            "bits": nn.size_in_bits(network),
        }
    announce(NEIGHBOUR)
    figures[NEIGHBOUR] = _share(neighbour_accuracy(dataset), dataset)
    return _table(figures, dataset), figures


def _share(share, dataset):
    """The test accuracy with its interval, as a part of the figures of `report`."""
    from scipy.stats import binomtest  # only now: it takes longer to import than all the rest

    size = len(dataset.test)
    interval = binomtest(round(share * size), size).proportion_ci(method="wilson")
    return {
        "test_accuracy": share,
        "low": float(interval.low),
        "high": float(interval.high),
        "test_images": size,
    }


def _table(figures, dataset):
    head = f"{dataset.name}, {len(dataset.test)} test images"
    width = 2 + max(map(len, (head, *figures)))
    lines = [
        f"{head:<{width}}{'test accuracy':>13}{'95 % interval':>17}{'parameters':>12}{'bits':>12}"
    ]
    for label, row in figures.items():
        between = f"{100 * row['low']:.1f} - {100 * row['high']:.1f} %"
        size = [f"{row[key]:,}" if key in row else "-" for key in ("parameters", "bits")]
        lines.append(
            f"{label:<{width}}{100 * row['test_accuracy']:>11.2f} %{between:>17}"
            f"{size[0]:>12}{size[1]:>12}"
        )
    return "\n".join(lines)
