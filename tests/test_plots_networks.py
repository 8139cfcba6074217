"""The figures of images and of what a network makes of them, and of where its bits are."""

from collections import Counter

import numpy as np
import pytest
from helpers.figures import assert_texts_fit
from matplotlib.patches import FancyArrowPatch

import bnas.functional as F
from bnas import Tensor, nn, no_grad
from bnas.data import dataset_from_arrays
from bnas.errors import InputError
from bnas.plots import (
    bits_figure,
    confusion_figure,
    draw_evaluation,
    graph_figure,
    mistakes_figure,
    samples_figure,
)


def pictures(figure):
    """(title, image) of every picture of a grid."""
    (ax,) = figure.axes
    shown = []
    for text, image in zip(ax.texts, ax.images, strict=True):
        left, right, bottom, top = image.get_extent()
        x, y = text.get_position()
        assert left < x < right and bottom > top > y  # y points down
        shown.append((text.get_text(), image.get_array()))
    return shown


def test_samples_show_every_class_before_any_twice():
    labels = np.array([3, 3, 3, 0, 3, 7, 0, 3])
    images = np.arange(8.0)[:, None, None, None] * np.ones((1, 1, 4, 6))
    figure = samples_figure(images, labels, count=6)
    shown = pictures(figure)
    assert [title for title, _ in shown] == ["0", "3", "7", "0", "3", "3"]
    order = [float(picture[0, 0]) for _, picture in shown]
    np.testing.assert_allclose(order, np.array([3, 0, 5, 6, 1, 2]) / 6)  # black 0, white 6
    assert "6 of 8 images" in figure._suptitle.get_text()
    assert_texts_fit(figure)


def test_samples_have_their_colours_back():
    rng = np.random.default_rng(0)
    raw = rng.integers(0, 256, (12, 3, 5, 5)).astype(np.uint8)
    raw[0, :, 0, :2] = 0, 255
    data = dataset_from_arrays("own", raw, np.arange(12) % 2, raw, np.arange(12) % 2)
    test = data.test
    for title, picture in pictures(samples_figure(test.images, test.labels, data.mean, data.std)):
        found = [np.allclose(picture, r.transpose(1, 2, 0) / 255, atol=1e-5) for r in raw]
        assert sum(found) == 1 and title == str(np.argmax(found) % 2)


@pytest.mark.slow
@pytest.mark.parametrize("classes", [1, 3, 10, 1000])
@pytest.mark.parametrize("wrong", [0, 1, 60])
def test_mistakes_are_shown_with_label_and_prediction(classes, wrong):
    rng = np.random.default_rng(wrong)
    labels = rng.integers(0, classes, 80)
    predictions = labels.copy()
    where = np.sort(rng.permutation(80)[:wrong])
    predictions[where] += 1
    images = rng.normal(size=(80, 2, 8, 8))
    figure = mistakes_figure(images, labels, predictions, what="test images")
    shown = pictures(figure)
    assert [title for title, _ in shown] == [
        f"{labels[i]}, taken for {labels[i] + 1}" for i in where[:50]
    ]
    for i, (_, picture) in zip(where, shown):  # grey, all on one scale
        assert np.corrcoef(picture.ravel(), images[i].mean(axis=0).ravel())[0, 1] > 0.999
    title = figure._suptitle.get_text()
    assert title.startswith(f"{wrong} of 80 test images wrong ({100 * wrong / 80:.2f} %)")
    assert ("the first 50" in title) == (wrong > 50)
    assert_texts_fit(figure)


@pytest.mark.slow
@pytest.mark.parametrize("classes", [1, 2, 10, 25, 100])
def test_confusions_are_counted(classes):
    rng = np.random.default_rng(classes)
    labels, predictions = rng.integers(0, classes, (2, 300))
    figure = confusion_figure(labels, predictions, classes)
    ax = figure.axes[0]
    pairs = Counter(zip(labels, predictions))
    shares = ax.images[0].get_array()
    assert shares.shape == (classes, classes)
    for (i, j), count in pairs.items():
        assert shares[i, j] == pytest.approx(count / np.sum(labels == i))
    if classes <= 25:
        texts = {text.get_position()[::-1]: int(text.get_text()) for text in ax.texts}
        assert texts == pairs
    assert f"{np.sum(labels == predictions)} of 300 images right" in ax.get_title()
    assert_texts_fit(figure)


def test_a_class_that_nobody_predicts_has_its_row():
    ax = confusion_figure([0, 1], [0, 0], classes=4).axes[0]
    np.testing.assert_array_equal(ax.images[0].get_array()[:, 0], [1, 1, 0, 0])


@pytest.mark.slow
@pytest.mark.parametrize("depth", [1, 30])
def test_bits_are_drawn_part_by_part(depth):
    rng = np.random.default_rng(0)
    layers = [nn.XnorConv2d(8, 8, 3, rng=rng) for _ in range(depth)]
    bits = nn.bits_by_part(nn.Sequential(*layers, nn.BatchNorm2d(8), nn.Linear(8, 2, rng=rng)))
    figure = bits_figure(bits)
    ax = figure.axes[0]
    assert [text.get_text() for text in ax.get_yticklabels()] == list(bits)
    for bars in ax.containers:
        kind = bars.get_label().rpartition(",")[0]
        expected = [row.get(kind, 0) for row in bits.values()]
        assert [bar.get_width() for bar in bars] == expected
    ends = np.max([[bar.get_x() + bar.get_width() for bar in b] for b in ax.containers], axis=0)
    np.testing.assert_array_equal(ends, [sum(row.values()) for row in bits.values()])
    total = nn.size_in_bits(nn.Sequential(*layers)) + 32 * (4 * 8 + 2 * 8 + 2)
    assert f"{total:,} bits" in ax.get_title()
    assert_texts_fit(figure)


IMAGES = np.zeros((2, 1, 4, 4))


@pytest.mark.parametrize(
    "draw, says",
    [
        (lambda: samples_figure(IMAGES[0], [0, 1]), r"expected \(N, C, H, W\)"),
        (lambda: samples_figure(IMAGES[:0], []), "no size of 0"),
        (lambda: samples_figure(IMAGES, [0, 1, 2]), "expected integers of shape .2,."),
        (lambda: mistakes_figure(IMAGES, [0, 1], [0.5, 1]), "predictions are float64"),
        (lambda: confusion_figure([0, 1], [0]), "2 labels, but 1 predictions"),
        (lambda: confusion_figure([], []), "expected integers"),
        (lambda: confusion_figure([0, 3], [0, 1], 3), "from 0 to 3, expected 0 to 2"),
        (lambda: confusion_figure([0, -1], [0, 1]), "from -1 to 1"),
        (lambda: bits_figure({}), "nn.bits_by_part"),
        (lambda: bits_figure({"stem": {"pixels": 3}}), "nn.bits_by_part"),
    ],
)
def test_what_cannot_be_drawn_of_images_and_networks(draw, says):
    with pytest.raises(InputError, match=says):
        draw()


@pytest.mark.slow
def test_draw_evaluation_draws_the_test_images(tmp_path):
    rng = np.random.default_rng(0)
    images = rng.normal(size=(30, 1, 4, 4))
    dataset = dataset_from_arrays("own", images, np.arange(30) % 3, images[:9], np.arange(9) % 2)
    network = nn.Linear(2, 3, rng=rng)
    test, predictions = (
        dataset.test,
        np.array([0, 1, 0, 0, 1, 1, 0, 1, 0]),
    )  # none of the last class
    paths = draw_evaluation(network, dataset, predictions, tmp_path / "figures")
    assert [path.stem for path in paths] == ["samples", "confusion", "mistakes", "bits"]
    expected = (
        samples_figure(dataset.train.images, dataset.train.labels, what="training images"),
        confusion_figure(test.labels, predictions, 3, "test images"),
        mistakes_figure(test.images, test.labels, predictions, what="test images"),
        bits_figure(nn.bits_by_part(network)),
    )
    for path, figure in zip(paths, expected):
        assert path.read_bytes() == figure._repr_png_()


# The graph of a computation -----------------------------------------------------------------------


def leaves(*shapes):
    return [Tensor(np.ones(shape), requires_grad=True) for shape in shapes]


def texts_and_arrows(figure):
    (ax,) = figure.axes
    arrows = [patch for patch in ax.patches if isinstance(patch, FancyArrowPatch)]
    return Counter(text.get_text().replace("\n", " ") for text in ax.texts), arrows


def test_a_graph_shows_every_operation_and_what_flows():
    w, b = leaves((3, 4), (4,))
    loss = F.tanh(F.matmul(np.ones((5, 3)), w) + b).mean()
    figure = graph_figure(loss, {"w": w})
    texts, arrows = texts_and_arrows(figure)
    boxes = "w (3, 4)", "leaf (4,)", "MatMul (5, 4)", "Add (5, 4)", "Tanh (5, 4)", "Mean ()"
    assert texts == Counter(boxes) and len(arrows) == 5
    across = {text.get_text().split()[0]: text.get_position()[0] for text in figure.axes[0].texts}
    order = ["w", "MatMul", "Add", "Tanh", "Mean"]
    assert sorted(order, key=across.get) == order
    assert across["leaf"] == across["MatMul"]  # next to the first operation that needs it
    assert_texts_fit(figure)


def test_all_arrows_of_a_graph_point_right_and_meet_no_box():
    """A value used often, twice by one operation, and over a distance."""
    w, far = leaves((3,), (3,))
    y = (w * w).sum() * w.sum() + w.mean()
    for _ in range(3):
        y = y * (far + w).sum() + y
    figure = graph_figure(y)
    _, arrows = texts_and_arrows(figure)
    assert len(arrows) == 9 + 3 * 7
    assert_texts_fit(figure)
    boxes = [text.get_bbox_patch().get_window_extent() for text in figure.axes[0].texts]
    boxes = [box.padded(-2) for box in boxes]
    to_pixels = figure.axes[0].transData
    for arrow in arrows:
        curve = to_pixels.transform_path(arrow.get_path()).cleaned(curves=False, simplify=False)
        points = curve.interpolated(20).vertices[:-20]  # the last vertex says that the path ends
        assert points[0, 0] < points[-1, 0]
        assert not [box for box in boxes if any(box.contains(*point) for point in points)]


def test_a_graph_that_cannot_be_drawn_is_refused():
    (w,) = leaves((3,))
    with no_grad():
        unrecorded = w * 2
    for output in (w, unrecorded, np.ones(3)):
        with pytest.raises(InputError, match="nothing was recorded"):
            graph_figure(output)
    loss = (w * w).sum()
    loss.backward()
    with pytest.raises(InputError, match="freed by a backward; draw it before"):
        graph_figure(loss)
    deep = w
    for _ in range(61):
        deep = deep + w
    with pytest.raises(InputError, match="61 operations, more than the 60"):
        graph_figure(deep)
