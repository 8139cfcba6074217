"""The figure of a training of the found network."""

from matplotlib.figure import Figure

from bnas.plots.epochs import (
    CHILD_COLOR,
    STAGES,
    draw_legend,
    draw_line,
    epoch_axis,
    log_if_wide,
    read,
    read_numbers,
)


def training_figure(history):
    """Training accuracy and loss of the found network, with what was 1-bit in each stage.

    history: one dict per epoch with epoch, stage ("real", "activations" or "binary"), loss and
    train_accuracy (0 to 1).
    """
    epochs = read(history, "epoch")
    figure = Figure(figsize=(9.0, 6.2), layout="constrained")
    top, bottom = figure.subplots(2, 1, sharex=True)
    style = {"color": CHILD_COLOR, "marker": "s"}
    draw_line(top, epochs, 100 * read_numbers(history, "train_accuracy"), **style)
    loss = read_numbers(history, "loss")
    draw_line(bottom, epochs, loss, **style)
    log_if_wide(bottom, [loss])
    for ax in (top, bottom):
        stages = epoch_axis(ax, history, "stage", STAGES)
        ax.grid(axis="y", color="#CCCCCC", linewidth=0.6)
    top.set_title("Training the found network")
    top.set_ylabel("training accuracy (%)")
    bottom.set_ylabel("loss")
    bottom.set_xlabel("epoch")
    draw_legend(figure, stages, columns=2)
    return figure
