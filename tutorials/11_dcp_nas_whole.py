# ---
# jupyter:
#   jupytext:
#     text_representation:
#       extension: .py
#       format_name: percent
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # 11. DCP-NAS, whole
#
# Ten tutorials have built the parts: gradients, signs, packed bits, a 1-bit CNN, the supernet, decoupled
# optimisation, the tangent. Here they run together, from the first epoch of a search to a packed file that
# recognises digits. You will see what a search leaves behind, and how to read it without deceiving yourself.
#
# **You will be able to**
#
# * follow algorithm 10 through `bnas/search/dcp.py`, and run it, interrupt it and resume it from Python;
# * read the pictures and the history of a search, and say what they do not show;
# * train, pack and use the found network, and compare it with what no search has found.
#
# **It assumes** tutorials 1 to 10.

# %%
import csv
import inspect
import io
import itertools
import shutil
import tempfile
import time
from dataclasses import asdict
from pathlib import Path

import numpy as np
from exercises import check, difference
from IPython.display import Image

import bnas
from bnas import plots
from bnas.config import SearchConfig, TrainConfig
from bnas.data import batches, load_dataset
from bnas.runs import RunFolder, Silent, run
from bnas.runs.jobs import epoch_rng
from bnas.search.strategies import new_search

digits = load_dataset("digits")
digits

# %% [markdown]
# ## Algorithm 10, line by line
#
# Two supernets of the same shapes learn in turns: the **Parent** is real, the **Child** 1-bit. The Parent, which
# is easy to train, shows the way; the Child, which is what we want in the end, decides. In `bnas` the algorithm
# is one method:

# %%
from bnas.search.dcp import Search

print(inspect.getsource(Search.algorithm))

# %% [markdown]
# It yields *steps*. One with epochs makes a phase, which then trains for so long; the others happen at once. Line
# by line, with $L_R$ from tutorial 4, $G$ from 8, $D$ and $t$ from 9, and the decoupled steps from 10:
#
# | line of algorithm 10 | step | what it does | equations |
# |---|---|---|---|
# | 1 | `train_parent` | $(w, \alpha)$ on the labels, $\alpha$ by decoupled optimisation | 4.20, 4.21, 4.50-4.53 |
# | | `record_tangent` | $t = \partial \tilde f^P / \partial \alpha$, over all validation images | 4.29 |
# | 2 | `inherit` | $\hat\alpha \leftarrow \alpha$, $\hat w \leftarrow w$ | |
# | 3 | `train_child` | $(\hat w, \beta, \hat\alpha)$ on $-G + \lambda D + \mu L_R$, decoupled too | 4.30-4.35 |
# | 4 | `inherit_back` | $\alpha \leftarrow \hat\alpha$ | |
#
# Lines 1 to 4 are one *round*, and there are several. What the search answers with is the discretised
# $\hat\alpha$. Note two things that are easy to overlook. First, $\alpha$ goes both ways, but weights go down
# only: the Parent keeps its own. Second, $-G = \mathrm{KL}(p \,\|\, \hat p)$ has no labels in it. The Child never
# learns from a label, it learns to predict what the Parent predicts.
#
# To see that nothing is hidden in the steps, we write the loop out with the parts of the earlier tutorials, and
# run it for two rounds on a tiny problem: one node a cell, 4 channels, 128 images.

# %%
from bnas.search.phases import ChildPhase, SupervisedPhase
from bnas.search.strategy import new_supernet
from bnas.search.tangent import tangent_direction
from bnas.space import REAL, Precision

tiny = SearchConfig(
    rounds=2, parent_epochs=1, child_epochs=1, nodes=1, channels=4, limit=128, batch_size=32
)
few = load_dataset("digits", limit=tiny.limit)
augment = new_search(tiny, few).augment  # shifts of the training images by a pixel
numbers = itertools.count()  # of the epochs


def learn(phase):
    for epoch in range(phase.epochs):
        rng = epoch_rng(tiny.seed, next(numbers))
        phase.run_epoch(epoch, few, augment, rng, "", Silent())


# %%
rng = np.random.default_rng(tiny.seed)
parent = new_supernet(tiny, few, REAL, rng)
child = new_supernet(tiny, few, Precision(True, tiny.surrogate, tiny.beta), rng)
for _ in range(tiny.rounds):
    learn(SupervisedPhase(parent, tiny, tiny.parent_epochs, tiny.eta))  # line 1
    t = tangent_direction(parent, list(batches(few.validation, 256)))
    child.inherit_weights(parent)  # line 2
    child.alpha.data = parent.alpha.data.copy()
    learn(ChildPhase(child, tiny, tiny.child_epochs, parent, t, tiny.lam, tiny.eta))  # line 3
    parent.alpha.data = child.alpha.data.copy()  # line 4

search = new_search(tiny, few)
for number in range(search.epochs):
    search.run_epoch(number, Silent())
same = np.array_equal(child.alpha.data, search.child.alpha.data)
print(f"alpha of the Child, shape {child.alpha.shape}: equal to the bit: {same}")

# %% [markdown]
# The two agree in every bit. All that `bnas` adds is what a long job needs: a history, and a state that can be
# saved after every epoch.
#
# ## A search at the scale of a notebook
#
# A `SearchConfig` holds all settings and checks them. Ours has two nodes a cell instead of four, 512 training
# images in batches of 32, two rounds of 3 Parent and 4 Child epochs, and a seed; all else is the default. A
# `RunFolder` is where a run leaves its files; here it lies in a temporary folder, which is removed at the end.
# `run` takes the *job*, the folder, and somebody to report to after every step.
#
# The seed was chosen so that the found cells have something to pack: with 15 of the seeds 0 to 21 this short
# search ended with skips and poolings alone, with the other 7, of which ours is one, with a single convolution. A
# search amplifies the rounding of its sums, so another processor may find other cells with the same seed. What the
# text says of the results is then to be compared with yours.
#
# Our reporter, besides, plays a power cut. In the middle of epoch 14, the last, it copies the folder: so would it
# look if the machine stopped at that moment. We come back to the copy below.

# %%
place = tempfile.TemporaryDirectory()
root, copy = Path(place.name) / "mine", Path(place.name) / "power-cut"
config = SearchConfig(
    nodes=2,
    limit=512,
    batch_size=32,
    rounds=2,
    parent_epochs=3,
    child_epochs=4,
    seed=3,
)
data = load_dataset(config.dataset, limit=config.limit)
search = new_search(config, data)


class PowerCut(Silent):
    def step(self, label, loss, accuracy):
        if label.startswith("epoch 14 ") and not copy.exists():
            shutil.copytree(root, copy)


# %%
start = time.perf_counter()
with RunFolder.create(root, asdict(config)) as folder:
    run(search, folder, PowerCut())
history = folder.history()
print(f"{search.epochs} epochs in {time.perf_counter() - start:.1f} s")
for record in history[::3]:
    print(
        f"epoch {record['epoch']:2}, {record['phase']:6}: loss {record['loss']:.3f}, "
        f"validation accuracy {record['validation_accuracy']:.1%}, entropy {record['entropy']:.3f}"
    )
print("files:", ", ".join(sorted(path.name for path in root.iterdir() if path.name != ".lock")))

# %% [markdown]
# Each record is one epoch. The checkpoint holds both supernets, their optimisers and $t$; it is replaced after
# every epoch.
#
# ## Its pictures, one by one
#
# `bnas search` draws these into `figures/` of the run folder. Every function of `bnas.plots` takes the history,
# and returns a figure.


# %%
def show(figure):
    """The figure as an image 900 pixels wide at most."""
    png = io.BytesIO()
    figure.savefig(png, dpi=min(130, 900 / figure.get_figwidth()), metadata={"Software": None})
    return Image(png.getvalue())


show(plots.accuracy_figure(history))

# %% [markdown]
# **Accuracy.** At the top see three things. In round 1 the Parent's dashed line is below the solid one: training
# accuracy is the mean over an epoch in which the network was still learning, on shifted images. (In later phases
# the lines may cross.) The Child starts each phase below the Parent that it inherits from, because the weights
# were learned for another arithmetic. And the Parent starts round 2 lower than it ended round 1: its learning rate
# is back at the peak, and $\alpha$ has been changed behind its back. The two losses below have axes of their own
# since they are different things. The Child's KL starts round 2 above the value at which it ended round 1. That is
# no loss of skill: the Parent, its target, has moved on.

# %%
show(plots.alpha_figure(history, "normal"))

# %% [markdown]
# **Alpha of the normal cell.** Every panel is an edge: rows are the nodes that it leads to, columns where it comes
# from. All eight lines begin near 1/8. Look first at the scale: even the thick lines, the operations that are
# kept, end near 1/4 or below. Look then at the gap between the thick line and the next, and at lines that cross.
# From $c_{k-2}$ to node 3 average pooling wins here, but a dilated convolution was ahead for some epochs; another
# seed or two more epochs may exchange them. Node 3 has three edges and keeps two: the panel without a coloured
# frame is the one that was dropped.

# %%
show(plots.entropy_figure(history))

# %% [markdown]
# **Entropy.** The same for all edges together. At the dotted line, $\ln 8$, all operations weigh the same; at 0
# all is decided. Both cells are still close under the dotted line when the search ends. $|\alpha|$ has grown,
# so it is under way, but no edge is decided. This is the figure to look at before any genotype is believed.

# %%
show(plots.operation_count_figure(history))

# %% [markdown]
# **Operations.** The genotype, had the search ended here: it is that of the Child's $\hat\alpha$, so nothing
# changes in the white epochs. (In the first three the Child has learned nothing yet, and the bar is the chance
# of its initial values.) Skips and poolings are at the bottom. In the reduction cell they reach above the dashed
# line, and the figure says in red that this is a collapse. We return to it.

# %%
print(f"squared length of t in the second round: {np.sum(search.t**2):.4f}")
show(plots.tangent_figure(history))

# %% [markdown]
# **The tangent.** $D = \lVert g - t \rVert^2$ is lower at the end of both Child phases than at their beginning. Is
# the Child being drawn towards the Parent's direction? The lower panel says no: the angle stays near 90 degrees.
# For orthogonal vectors $\lVert g - t\rVert^2 = \lVert g\rVert^2 + \lVert t\rVert^2$, and $t$ is fixed: the line
# above the figure has its part in the second round, and $D$ stays above that. So $D$ falls here mostly because
# $g$ becomes short, as it does when the Child comes closer to the Parent: at $p = \hat p$ it is zero. With
# the paper's $\lambda = 0.005$ the term is small beside the KL divergence; `docs/method.md` says how small.

# %% tags=["picture"]
genotype = search.genotype()
show(plots.cell_figure(genotype))

# %% [markdown]
# **The cells.** The answer, as a graph: from the outputs of the last two cells, $c_{k-2}$ and $c_{k-1}$,
# through the nodes 2 and 3, to a concatenation. What looks so definite here has been read off nearly equal
# weights. The picture shows none of that doubt, which is why it comes last.
#
# ## Interrupted and resumed
#
# Now to the copy. Its history ends with epoch 13, and epoch 14 was under way. To make it worse we add half a line
# to the history, as if the machine had stopped while writing. A new job, in the same folder, goes on from the
# checkpoint:

# %%
with open(copy / "history.jsonl", "a") as file:
    file.write('{"epoch": 14, "phase": "chi')
print("after the power cut:", len(RunFolder.open(copy).history()), "epochs")
with RunFolder.open(copy, write=True) as resumed:
    run(new_search(config, data), resumed, Silent())
print("resumed:", len(resumed.history()), "epochs")

arrays, again = folder.load()[0], resumed.load()[0]
equal = [np.array_equal(arrays[name], again[name]) for name in arrays]
print(f"{sum(equal)} of {len(arrays)} arrays of the last checkpoint are equal to the bit")
measured = {"seconds", "peak_memory"}
different = {k for a, b in zip(history, resumed.history()) for k in a if a[k] != b[k]}
print("columns of the history that differ:", ", ".join(sorted(different)))
assert all(equal) and arrays.keys() == again.keys() and different <= measured

# %% [markdown]
# The torn line was left out, epoch 14 was done again, and every array is as if nothing had happened; of
# the history only what is measured differs. Three things make that possible. All that an epoch starts from is
# in the checkpoint. Its random numbers come from (seed, epoch) and from nothing else. And files are replaced as
# a whole or not at all, in an order that makes a kill cost one epoch at most: first the line of the history,
# then the checkpoint.
#
# ## The history as data
#
# `bnas.load_run` reads a folder back: settings, genotype, and one array for each column of the history
# (`docs/results.md` says what they are).

# %%
from bnas.space import write_genotype

write_genotype(root / "genotype.txt", genotype)
result = bnas.load_run(root)
columns = result.history
print(columns)
print("alpha:", columns["alpha"].shape, columns["alpha"].dtype)

table = io.StringIO()
result.history.to_csv(table)
for row in list(csv.DictReader(io.StringIO(table.getvalue())))[:5]:
    print({name: row[name] for name in ("epoch", "phase", "loss", "angle")})

# %%
is_child = columns["phase"] == "child"
for name, mask in (("Parent", ~is_child), ("Child", is_child)):
    print(
        f"{name:7}{mask.sum():2} epochs, {columns['seconds'][mask].sum():5.1f} s, "
        f"{columns['gradient_steps'][mask].sum():4} backward passes, "
        f"best validation accuracy {columns['validation_accuracy'][mask].max():.1%}"
    )
print(f"both   {result.seconds:.1f} s, {result.images_seen:,} images seen")

# %% [markdown]
# The numbers in the history are read back equal to the bit, and so are those in the table, which any spreadsheet
# reads ($\alpha$ is left out there, being no single number). Compare searches by backward passes rather than
# seconds: those do not depend on the machine, nor on what else it was doing.
#
# ## The found network: trained, packed, used
#
# A genotype is no network yet. Its weights are learned anew, from scratch, in 1 bit, on all training images,
# with 16 channels and 4 cells instead of 8 and 3, since one operation an edge is cheap. The training is a job like
# the search, and its folder stands below that of the search, where `load_run` finds it.

# %%
from bnas.space import format_genotype
from bnas.train import Training


def settings(genotype):
    return TrainConfig(genotype=format_genotype(genotype), epochs=5)


training = Training(settings(genotype), digits)
with RunFolder.create(root / "binary", asdict(training.config)) as below:
    run(training, below, Silent())
network = training.network
network.eval()
print("trainings in the folder:", ", ".join(bnas.load_run(root).trainings))
show(plots.training_figure(below.history()))

# %% [markdown]
# **Training.** The grey ground says that activations and weights are 1-bit throughout. The solid line is on
# validation images, "which train too": the architecture is chosen, so they need not be held back, and the line
# says nothing about new images. The test images have not been touched so far.
#
# Then it is packed, as in tutorial 5.

# %%
from bnas.evaluation import predict
from bnas.packed import PackedNetwork

packed = PackedNetwork.pack(
    network, digits.image_shape, digits.mean, digits.std, format_genotype(genotype)
)
packed.save(root / "packed.npz")
packed = PackedNetwork.load(root / "packed.npz")
images = digits.test.images
logits, bits = predict(network, images), packed(images)
print("predictions equal:", np.array_equal(logits.argmax(axis=1), bits.argmax(axis=1)))
print(f"largest difference of logits, relative: {abs(logits - bits).max() / abs(logits).max():.0e}")
print(packed.size_table())

# %%
from bnas import nn


def per_image(classify):
    """Microseconds an image, the best of 5 runs over all test images."""
    classify(images)  # compiles, and makes room
    seconds = []
    for _ in range(5):
        start = time.perf_counter()
        classify(images)
        seconds.append(time.perf_counter() - start)
    return 1e6 * min(seconds) / len(images)


print(f"network, layer by layer: {per_image(lambda x: predict(network, x)):6.1f} µs an image")
print(f"packed, as a whole:      {per_image(packed):6.1f} µs an image")
real_size = 32 * nn.parameter_count(network) / 8 / 1024
print(f"all weights in 32 bits: {real_size:.1f} KiB")
print(f"size in bits: {nn.size_in_bits(network):,}, {nn.size_in_bits(network) / 8 / 1024:.1f} KiB")
print(f"file: {(root / 'packed.npz').stat().st_size / 1024:.1f} KiB")

# %% [markdown]
# All predictions are equal, and logits differ by rounding only. The table says where the bits are: the 1-bit
# weights are about 1 % of them. What stays real, above all the stem and the 1×1 convolutions at the inputs of the
# cells, takes the rest, the more so as this genotype has hardly a convolution to pack. (The file also holds a
# description, in JSON.) The packed network is faster all the same, though with one convolution in bits there is
# little for popcounts to save: it is a list of calls of kernels that was laid out once, and it computes image after
# image without Python in between, where the network goes from module to module (`docs/packed.md`). The times vary
# with what else the machine does.
#
# ## The same from the command line
#
# All of this is a few commands, typed in the folder of the clone. Those that search and train draw their figures.
#
# ```sh
# bnas search runs/mine --nodes 2 --limit 512 --batch-size 32 --parent-epochs 3 --child-epochs 4 --seed 3
# bnas search runs/mine --resume          # after an interruption; Ctrl-C is one
# bnas train runs/mine --limit 1797 --epochs 5
# bnas train runs/mine --limit 1797 --epochs 5 --genotype random  # a baseline, as below
# bnas train runs/mine --limit 1797 --epochs 5 --genotype skips
# bnas evaluate runs/mine                 # a table such as the last one below
# bnas export runs/mine -o net.npz        # packs, and compares the predictions before it writes
# bnas predict net.npz data/optdigits.csv.gz
# ```
#
# (`.venv/bin/bnas`, unless the environment is active. `--limit 1797` is for all images; without it the training
# takes over the 512 of the search.)
#
# ## What goes wrong
#
# **Mistake 1: the Child's alpha is read too early.** `discretise` always answers, even when $\hat\alpha$ has
# nothing to say. Two numbers tell more: the entropy of the weights, best read as $e^H$, the number of candidates
# that are still in the race; and how many of the eight choices, an operation and an origin each, differ from those
# of the last epoch.

# %%
from bnas.space import parse_genotype
from bnas.space.alpha import edge_entropies, mixing_weights


def choices(genotype):
    cells = (genotype.normal, genotype.reduce)
    return {(c, k // 2, *pair) for c, cell in enumerate(cells) for k, pair in enumerate(cell)}


for record in (record for record in history if record["phase"] == "child"):
    weights = mixing_weights(record["alpha"])
    left = np.exp(edge_entropies(weights))
    now = parse_genotype(record["genotype"])
    print(
        f"epoch {record['epoch']:2}: {left.mean():.1f} of 8 candidates left (least {left.min():.1f}), "
        f"largest weight {weights.max():.2f}, {len(choices(genotype) - choices(now))} of 8 choices "
        "not yet the last ones"
    )

# %% [markdown]
# Here the choices hardly change after the first epochs of the Child, which looks like certainty and is none. At
# the end some seven of eight candidates are still in the race: reading $\hat\alpha$ now is calling a race after
# the first bend. And with `seed=0` six of the eight choices were others in the end. The symptom is not in the
# genotype, which looks as definite as any; it is in the entropy, and in choices that change from epoch to epoch
# or from seed to seed. The remedies are more epochs, a larger `alpha_lr`, or a falling
# `temperature`; and several seeds, since a choice that every seed makes means more than any single one.
#
# **Mistake 2: the supernet's accuracy is taken for that of a network.** The figures of the search show the
# accuracy of *all candidates at once*. The genotype keeps one of eight operations and two edges a node. We ask
# three networks: the Child; the Child with the genotype's operations alone, weights as they are; and the found
# network, trained from scratch.

# %%
from bnas.evaluation import accuracy
from bnas.space.alpha import genotype_mask

child = search.child
print(f"Child, all candidates:        {accuracy(child, digits.test):6.1%}")
with child.restricted(genotype_mask(genotype)):
    print(f"Child, its genotype alone:    {accuracy(child, digits.test):6.1%}")
print(f"found network, from scratch:  {accuracy(network, digits.test):6.1%}")

# %% [markdown]
# The three have little to do with one another. Alone, the genotype's operations are far worse than the whole of
# which they were a part: the weights learned to share the work, and the running statistics of batch norm are
# those of the sum. From scratch the same architecture is some points better than the supernet. (It also has more
# channels, a cell and 900 images more, so not even that difference is one of architecture.) No number here may
# stand for another: a better supernet is no better genotype.
#
# **Mistake 3: nobody counts the skips and poolings.** The known failure of differentiable search is a cell of
# operations without weights: they help a supernet early, when convolutions have not learned anything yet, and
# $\alpha$ rewards what helps now.

# %%
from bnas.space import explain_genotype

weightless = ("skip_connect", "max_pool_3x3", "avg_pool_3x3")
for cell in ("normal", "reduce"):
    names = [name for name, _ in getattr(genotype, cell)]
    print(f"{cell}: {sum(name in weightless for name in names)} of {len(names)} without weights")
print()
print(explain_genotype(genotype))

# %% [markdown]
# Nearly all operations, and the whole reduction cell. It can be worse: with most of the seeds from 0 to 21 the
# same search ended with skips and poolings in all eight places, as said above.
# Whether it matters is a question of experiment: train what nobody has searched for in the same way, and compare.

# %%
from bnas.evaluation import report
from bnas.space import random_genotype, skip_genotype

networks = [("Found", network)]
others = {
    "Random": random_genotype(config.nodes, np.random.default_rng(1)),
    "Skips alone": skip_genotype(config.nodes),
}
for name, other in others.items():
    job = Training(settings(other), digits)
    for number in range(job.epochs):
        job.run_epoch(number, Silent())
    networks.append((name, job.network))
text, figures = report(networks, digits)
print(text)

# %% [markdown]
# Look at the intervals before the order of the rows. The found network is above both baselines here, and its
# interval overlaps neither of theirs. But an interval only tells what other test images might change. This is one
# seed of the training and one of the search, which we chose, one random genotype, and 5 epochs, in which whatever
# learns fast is ahead. After 20 epochs, and over three seeds, the table of the README has the random genotypes
# within a point of the found ones. And no row is above the nearest neighbour, which learns nothing: these digits
# are too easy to tell good architectures apart. To claim that a search has found something takes several seeds,
# baselines and intervals; that is tutorial 12.

# %%
place.cleanup()
print("anything left:", root.exists() or copy.exists())

# %% [markdown]
# ## Exercises
#
# **Exercise 1.** How narrowly was an edge decided? Write `margins(alpha)` for an array of logits
# `(..., E, 8)`, the operations in the order of `bnas.config.PRIMITIVES`, `none` first. For every edge it returns
# the weight of its best operation less that of its second best, weights being softmax($\alpha$) over all eight.
# `none` counts in the softmax, but it is never chosen, so it is neither best nor second best.


# %% tags=["exercise-1"]
def margins(alpha): ...


# %% tags=["check-1"]
def examine_1(answer):
    rng = np.random.default_rng(11)
    for shape in ((5, 8), (2, 5, 8), (3, 2, 14, 8)):
        for shift in (0, 2000):  # which softmax does not notice
            alpha = 2 * rng.standard_normal(shape)
            alpha[..., 0] += rng.choice([-3, 3], shape[:-1])
            weights = mixing_weights(alpha)[..., 1:]
            expected = weights.max(axis=-1) - np.partition(weights, -2, axis=-1)[..., -2]
            fault = difference(answer(alpha + shift), expected, 1e-9)
            if fault:
                return f"for alpha of shape {shape}, all entries larger by {shift}: {fault}"


check(1, margins, examine_1)

# %% [markdown]
# **Exercise 2.** When did a search settle? Write `settled(genotypes)` for the column `genotype` of a history, an
# array of texts: the number of the epoch, from 1, since which the genotype has been what it is at the end.


# %% tags=["exercise-2"]
def settled(genotypes): ...


# %% tags=["check-2"]
def examine_2(answer):
    rng = np.random.default_rng(12)
    for length in (1, 2, 3, 6, 10, 10, 10, 25):
        for kinds in (1, 2, 3):
            genotypes = np.array(["ABC"[k] for k in rng.integers(kinds, size=length)])
            last = len("".join(genotypes).rstrip(genotypes[-1])) + 1
            fault = difference(answer(genotypes.copy()), last)
            if fault:
                return f"for the genotypes {' '.join(genotypes)}: {fault}"


check(2, settled, examine_2)

# %% [markdown]
# **Exercise 3.** A job that can be resumed must hand over *all* that the next epoch depends on. Here is a small
# one: a descent with momentum on a noisy loss, whose answer is the best point that it has seen. Write
# `state(job)`, a dict of the arrays to be saved, so that an interruption after any epoch changes nothing.


# %%
class Descent:
    epochs = 8

    def __init__(self, seed):
        self.seed, rng = seed, np.random.default_rng(seed)
        self.w, self.v = rng.standard_normal(5), np.zeros(5)
        self.best, self.lowest = self.w, np.array(np.inf)

    def run_epoch(self, number):
        target = epoch_rng(int(self.seed), number).standard_normal(5)
        self.v = 0.9 * self.v + self.w - target
        self.w = self.w - 0.3 * self.v
        loss = np.sum((self.w - target) ** 2)
        if loss < self.lowest:
            self.best, self.lowest = self.w, loss

    def load_state(self, arrays):
        vars(self).update(arrays)


# %% tags=["exercise-3"]
def state(job): ...


# %% tags=["check-3"]
def examine_3(answer):
    for seed, done in itertools.product(range(5), range(1, Descent.epochs)):
        whole, before, after = (Descent(seed) for _ in range(3))
        for number in range(done):
            before.run_epoch(number)
        file = io.BytesIO()
        np.savez(file, **answer(before))
        file.seek(0)
        after.load_state(dict(np.load(file)))
        for number in range(Descent.epochs):
            whole.run_epoch(number)
            if number >= done:
                after.run_epoch(number)
        for name in ("w", "best"):
            if not np.array_equal(getattr(after, name), getattr(whole, name)):
                return (
                    f"seed {seed}: if interrupted after epoch {done}, {name} is another at the end"
                )


check(3, state, examine_3)

# %% [markdown]
# ## Where to read on
#
# * `bnas/search/dcp.py`, then `phases.py` (a step of Parent and Child) and `epochs.py` (how steps become
#   epochs with a state) beside it; `bnas/runs/jobs.py`, whose `run` you have used.
# * `docs/method.md`: every equation with its function, where the print is wrong, and what was studied besides;
#   `docs/strategies.md`: six other searches, compared over five seeds, and remedies against collapse.
# * `bnas/results.py` for the history as data, and `bnas.compare` for several runs in one table.
# * Next: tutorial 12.
# * Li et al., *DCP-NAS* (IJCV 2023, arXiv 2306.15390). On the mistakes: Zela et al., *Understanding and
#   robustifying differentiable architecture search* (ICLR 2020), and Liang et al., *DARTS+* (2019), on collapse;
#   Yang et al., *NAS evaluation is frustratingly hard* (ICLR 2020), and Li and Talwalkar, *Random search and
#   reproducibility for NAS* (UAI 2019), on baselines; Wang et al., *Rethinking architecture selection in
#   differentiable NAS* (ICLR 2021), on what the size of $\alpha$ tells.
