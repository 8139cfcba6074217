"""The figure of how those who learn in a search fare: supernets, or one individual after another."""

from typing import NamedTuple

import numpy as np

from bnas.plots.epochs import (
    CHILD_COLOR,
    PARENT_COLOR,
    PHASES,
    TRAINING_LINE,
    draw_legend,
    draw_line,
    epoch_axis,
    log_if_wide,
    read,
    read_numbers,
)
from bnas.plots.figure import Figure


class Learner(NamedTuple):
    """Who learns in a phase: the name, how its lines look, and what its loss is called."""

    phase: str
    name: str
    color: str
    marker: str
    loss: str


LEARNERS = (
    Learner("parent", "Parent", PARENT_COLOR, "o", "cross-entropy of\nthe Parent (4.21)"),
    Learner("child", "Child", CHILD_COLOR, "s", "KL(Parent ‖ Child)\nof the Child (4.30)"),
    Learner("supernet", "Supernet", "#009E73", "^", "cross-entropy of\nthe supernet"),
    Learner("search", "Search", "#AA4499", "D", "loss of\nthe search"),
    Learner("individual", "Individuals", "#56B4E9", "o", "cross-entropy of\neach individual"),
)


def draw_validation(ax, history):
    """The validation accuracy in percent of all who learn: a line each, and of individuals the last epochs."""
    epochs, phase = read(history, "epoch"), np.array(read(history, "phase"))
    accuracy = 100 * read_numbers(history, "validation_accuracy")
    for learner in LEARNERS:
        own = phase == learner.phase
        if not own.any():
            continue
        if learner.phase == "individual":
            _draw_individuals(ax, history, accuracy, learner.color)
            continue
        values = np.where(own, accuracy, np.nan)  # NaN interrupts the line
        style = {"color": learner.color, "marker": learner.marker}
        draw_line(ax, epochs, values, label=f"{learner.name}, validation", **style)


def _draw_individuals(ax, history, accuracy, color):
    """A dot for what every individual reached, and a step line for the best of them so far."""
    last = _last_epochs(history)
    epochs = np.array(read(history, "epoch"))
    _draw_curves(ax, history, accuracy, color=color, label="on the way there, validation")
    dot = {"linestyle": "none", "marker": "o", "markersize": 4.5, "color": PARENT_COLOR}
    ax.plot(epochs[last], accuracy[last], label="an individual at its last epoch", **dot)
    best = np.fmax.accumulate(accuracy[last])
    line = {"color": "#000000", "linewidth": 1.8, "label": "the best of them so far"}
    ax.step([*epochs[last], epochs[-1]], [*best, best[-1]], where="post", **line)


def _last_epochs(history):
    """Where in the history an individual ends: the next record is of another `round` or phase, or missing."""
    who = list(zip(read(history, "phase"), read(history, "round")))
    return [
        k for k, now in enumerate(who) if now[0] == "individual" and who[k + 1 : k + 2] != [now]
    ]


def _draw_curves(ax, history, values, **style):
    """A faint line for each individual over its epochs, with a point where it ends."""
    last = np.array(_last_epochs(history))
    phase, epochs = np.array(read(history, "phase")), np.array(read(history, "epoch"), float)
    values = np.where(phase == "individual", values, np.nan)
    epochs, values = (np.insert(array, last + 1, np.nan) for array in (epochs, values))
    ends = list(last + np.arange(len(last)))  # where they are now, the gaps inserted
    faint = {"linewidth": 0.9, "alpha": 0.6, "zorder": 1.5, "marker": "."}
    ax.plot(epochs, values, markevery=ends, **faint, **style)


def _number_individuals(ax, history):
    """An axis above `ax` that counts the individuals, from 1, each where it ends."""
    last = _last_epochs(history)
    step = max(1, -(-len(last) // 12))
    above = ax.secondary_xaxis("top")
    ends = [history[k]["epoch"] for k in last[::step]]
    above.set_xticks(ends, [str(number) for number in range(1, len(last) + 1, step)])
    above.tick_params(labelsize=8)
    above.set_xlabel("individual", fontsize=9)


def accuracy_figure(history):
    """Accuracy and loss of those who learn over the epochs of a search.

    Of the supernets, Parent and Child or a single one, validation and training accuracy and the loss that each is
    trained on, on an axis of its own: cross-entropy (4.21), for the Child the KL divergence of Eq. 4.30. Of
    individuals, which are trained from scratch one after another, the validation accuracy that each reached
    as a dot, the best so far as a step line, and their ways there as faint lines.

    history: one dict per epoch with epoch, round (the individual's number), phase, loss, train_accuracy and
    validation_accuracy (0 to 1, None where there is none).
    """
    epochs = read(history, "epoch")
    phase = read(history, "phase")
    learners = [learner for learner in LEARNERS if learner.phase in phase]

    figure = Figure(figsize=(9.0, 4.0 + 2.2 * len(learners)), layout="constrained")
    heights = [1.6, *(1 for _ in learners)]
    panels = figure.subplots(len(heights), 1, sharex=True, squeeze=False, height_ratios=heights)[
        :, 0
    ]
    for ax in panels:
        phases = epoch_axis(ax, history, "phase", PHASES)
        ax.grid(axis="y", color="#CCCCCC", linewidth=0.6)
    top = panels[0]
    draw_validation(top, history)
    training, loss = 100 * read_numbers(history, "train_accuracy"), read_numbers(history, "loss")
    for learner, bottom in zip(learners, panels[1:]):
        own = np.array([value == learner.phase for value in phase])
        bottom.set_ylabel(learner.loss)
        log_if_wide(bottom, loss[own])
        if learner.phase == "individual":
            faint = {"color": learner.color, "linestyle": "--"}
            _draw_curves(top, history, training, label="on the way there, training", **faint)
            _draw_curves(bottom, history, loss, color=PARENT_COLOR)
            _number_individuals(top, history)
            continue
        style = {"color": learner.color, "marker": learner.marker}
        label = f"{learner.name}, training"
        draw_line(
            top, epochs, np.where(own, training, np.nan), label=label, **style | TRAINING_LINE
        )
        draw_line(bottom, epochs, np.where(own, loss, np.nan), **style)
    names = [learner.name for learner in learners]
    top.set_title("Parent and Child" if set(phase) <= {"parent", "child"} else " and ".join(names))
    top.set_ylabel("accuracy (%)")
    panels[-1].set_xlabel("epoch")
    draw_legend(figure, [*top.get_legend_handles_labels()[0], *phases], columns=4)
    return figure
