"""The figure of a training of the found network."""

import numpy as np

from bnas.plots.epochs import (
    CHILD_COLOR,
    STAGES,
    TRAINING_LINE,
    draw_legend,
    draw_line,
    epoch_axis,
    log_if_wide,
    read,
    read_numbers,
)
from bnas.plots.figure import Figure

_EVALUATED = {  # after every epoch, with all of the network as it is then
    "validation_accuracy": "validation images, held out",
    "evaluation_accuracy": "validation images, which train too",
}


def training_figure(history):
    """Accuracy and loss of the found network in training, with what was 1-bit in each stage.

    history: one dict per epoch with epoch, stage ("real", "activations" or "binary"), loss and
    train_accuracy (0 to 1), the mean over its steps; and what older runs lack, the accuracy after it
    on the validation images, as validation_accuracy, or evaluation_accuracy if they trained too.
    """
    epochs = read(history, "epoch")
    figure = Figure(figsize=(9.0, 6.2), layout="constrained")
    top, bottom = figure.subplots(2, 1, sharex=True)
    style = {"color": CHILD_COLOR, "marker": "s"}
    for key, label in _EVALUATED.items():
        evaluated = read_numbers([{key: None, **record} for record in history], key)
        if not np.isnan(evaluated).all():
            draw_line(top, epochs, 100 * evaluated, label=label, **style)
    training = 100 * read_numbers(history, "train_accuracy")
    draw_line(top, epochs, training, label="training, mean of the steps", **style | TRAINING_LINE)
    loss = read_numbers(history, "loss")
    draw_line(bottom, epochs, loss, **style)
    log_if_wide(bottom, loss)
    for ax in (top, bottom):
        stages = epoch_axis(ax, history, "stage", STAGES)
        ax.grid(axis="y", color="#CCCCCC", linewidth=0.6)
    top.legend(fontsize=9)
    top.set_title("Training the found network")
    top.set_ylabel("accuracy (%)")
    bottom.set_ylabel("training loss")
    bottom.set_xlabel("epoch")
    draw_legend(figure, stages, columns=2)
    return figure
