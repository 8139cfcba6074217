"""How good a network is: predictions, accuracy, and the table that compares networks."""

import numpy as np

from bnas import nn
from bnas.autodiff import no_grad
from bnas.optim import require_finite

BATCH = 256


def predict(network, images):
    """Logits (N, classes) of images (N, C, H, W), batch by batch, in evaluation mode."""
    with nn.evaluating(network), no_grad():
        logits = [network(images[i : i + BATCH]).data for i in range(0, len(images), BATCH)]
    return np.concatenate(logits)


def accuracy(network, split):
    """Share of the split's images whose largest logit is at their label, 0 to 1."""
    return float((predict(network, split.images).argmax(axis=1) == split.labels).mean())


def report(networks, dataset):
    """Compare networks on the test split.

    Args:
        networks: pairs (label, network).
        dataset: bnas.data.Dataset.

    Returns:
        (text, figures): a table, and {label: {"test_accuracy", "low", "high", "parameters", "bits"}}
        with the 95 % interval of Wilson (1927) for the accuracy.

    Raises DivergedError if a prediction is NaN or infinite.
    """
    from scipy.stats import binomtest  # only now: it takes longer to import than all the rest

    figures = {}
    size = len(dataset.test)
    for label, network in networks:
        logits = predict(network, dataset.test.images)
        require_finite(
            logits, f"a prediction of the {label}"
        )  # of NaN, class 0 would be the largest
        share = float((logits.argmax(axis=1) == dataset.test.labels).mean())
        interval = binomtest(round(share * size), size).proportion_ci(method="wilson")
        figures[label] = {
            "test_accuracy": share,
            "low": float(interval.low),
            "high": float(interval.high),
            "parameters": nn.parameter_count(network),
            "bits": nn.size_in_bits(network),
        }
    head = f"{dataset.name}, {size} test images"
    lines = [f"{head:<26}{'accuracy':>10}{'95 % interval':>17}{'parameters':>13}{'bits':>13}"]
    for label, row in figures.items():
        between = f"{100 * row['low']:.1f} - {100 * row['high']:.1f} %"
        lines.append(
            f"{label:<26}{100 * row['test_accuracy']:>8.2f} %{between:>17}"
            f"{row['parameters']:>13,}{row['bits']:>13,}"
        )
    return "\n".join(lines), figures
