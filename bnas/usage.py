"""What --help says of each command, but for its options."""

DESCRIPTION = """\
Neural architecture search for 1-bit networks: DCP-NAS in NumPy and Numba.

A real-valued Parent and a 1-bit Child search together, on images, for the cells of
a network whose weights and activations are single bits.
"""
EPILOG = """\
a first session:
  bnas search runs/mine             find an architecture on the bundled digits
  bnas train runs/mine              train it from scratch as a 1-bit network
  bnas evaluate runs/mine           test accuracy, parameters, size
The same with --quick after search and train takes seconds: a trial, in which the
supernets have hardly begun to learn.

`bnas COMMAND --help` explains a command and its options.
"""
SEARCH = """\
Search an architecture. With DCP-NAS, unless another --strategy is given: a real Parent
and a 1-bit Child take turns, and the architecture of the Child is the result.

strategies:
  dcp        DCP-NAS: tangent propagation from Parent to Child, decoupled optimisation
  cp         CP-NAS: operations are scored by both, the worst dropped until one is left
  bnas       the 1-bit supernet alone, on the labels
  darts      the real supernet alone, first or second order (--order)
  random     architectures drawn evenly, each trained in 1 bit; the best is kept
  shared     a 1-bit supernet learns on random paths; the best of many paths is kept
  evolution  the best of a few drawn has a mutated offspring, the oldest dies
  MODULE:CLASS  one of your own, a class in MODULE.py; docs/strategies.md shows one
All have the same run folder, history and splits of the data, and none sees a test image.

The run folder gets config.json (the settings), history.jsonl (a line an epoch),
checkpoint.npz, genotype.txt (the result) and figures/. Every epoch is saved: Ctrl-C
or a power cut costs the current one, and --resume goes on, to the same bits.
"""
SEARCH_EPILOG = """\
Equations (Eq. 4.x) and symbols are those of Zhang et al., Binary Neural Networks
(2024), section 4.4, and of Li et al., DCP-NAS (IJCV 2023, arXiv 2306.15390).

examples:
  bnas search --quick                         a trial, into runs/digits-seed0
  bnas search runs/one --seed 1
  bnas search runs/one --resume               go on with it
  bnas search --strategy evolution            another, into runs/digits-evolution-seed0
  bnas search --dataset cifar10 --data-dir DIR --limit 5000
  bnas search --dataset npz --data-dir FILE.npz

`bnas data --help` tells what FILE.npz must hold.
"""
TRAIN = """\
Train an architecture from scratch: that of RUN/genotype.txt, or of --genotype. As a
1-bit network it goes into RUN/binary, as its real twin (--precision real) into
RUN/real, with --name into RUN/NAME, beside the others. Data set, --data-dir, --limit
and --seed are those of the search unless given.

--genotype random and skips are baselines for a run: a genotype drawn with --seed, and
one that only adds up the inputs of its cells. They go into RUN/random and RUN/skips and
are trained with the settings of RUN/binary, if it is there, so that all that differs is
the genotype. A search has found something if its network beats them.

Train and validation images train together, so the accuracy on the latter tells nothing of
new images; --hold-out keeps them apart. The test images wait for bnas evaluate.
"""
TRAIN_EPILOG = """\
examples:
  bnas train runs/mine                        the 1-bit network of a search
  bnas train runs/mine --precision real       its real twin, to compare with
  bnas train runs/darts --genotype DARTS_V2   a published architecture
  bnas train runs/mine --distil 0.5           led by the real twin, trained before
  bnas train runs/mine --name long --epochs 60    once more, to compare
  bnas train runs/mine --genotype random      what would chance have found?
"""
EVALUATE = """\
Evaluate every network of a run on the test images: the supernets of the search (Parent
and Child), and all that was trained, baselines too. Prints test accuracy with its 95 %
interval, parameters, size in bits, and the genotype; also in RUN/evaluation.json. For
comparison, the label of the training image with the nearest pixels: no learning at all
(of large data sets evenly chosen ones, so that it takes seconds).
Draws samples of the data, and of each trained network what it takes for what (confusion),
its mistakes and where its bits are, into the figures of its folder.
After --limit the test images are fewer in proportion, and the interval is wider.
"""
COMPARE = """\
Compare what several searches have found: the test accuracy of their trained 1-bit networks,
how many skips and poolings they keep, and what the searches cost. Runs that differ in
nothing but the seed are one group, with mean and standard deviation. The differences from
the group of the first RUN are taken seed by seed, with a 95 % bootstrap interval; where it
holds 0, they are within noise.

All must be searched, trained with the same settings, and evaluated (bnas evaluate RUN). With
bnas train --hold-out there is a validation accuracy too, the one to choose by.
"""
COMPARE_EPILOG = """\
examples:
  bnas compare runs/dcp0 runs/dcp1 runs/dcp2 runs/random0 runs/random1 runs/random2
  bnas compare runs/dcp* runs/random* -o table.csv -o figure.png
  bnas compare runs/dcp* runs/random* --name real
"""
SWEEP = """\
Search or train many configurations over many seeds: a grid of settings, or a list of runs,
described in a TOML file, each on one thread of its own. On the cores of this machine, or on
a cluster with the address of its Dask scheduler. To the bit, results are the same wherever
they are computed.

Each result is a file, DIR/results/NAME-seedSEED.json. Killed at any point, by Ctrl-C too, the
same command goes on; finished jobs are not repeated. What fails is told with its error in
DIR/failures/, the rest is finished, and the exit status is 1. At the end a table is printed,
with mean and standard deviation over the seeds.
"""
SWEEP_EPILOG = """\
a SPEC.toml:
  kind = "search"                  or "train", which needs the setting genotype
  seeds = 10
  [settings]                       of all: those of `bnas search`
  channels = 4
  [grid]                           each combination; or [[runs]], each with a name
  strategy = ["dcp", "random"]
  [train]                          then train what was found: settings of `bnas train`
  epochs = 20

examples:
  bnas sweep strategies.toml --dry-run
  bnas sweep strategies.toml --workers 4
  bnas sweep strategies.toml --scheduler tcp://10.0.0.1:8786

docs/sweeps.md tells of clusters.
"""
EXPORT = """\
Compile the trained 1-bit network of a run to a packed one: weights and activations of
its 1-bit layers as bits, batch norm and sign between them as integer thresholds. Prints
how large every part is, and checks the predictions against the run's on its images.
"""
EXPORT_EPILOG = """\
The file is a .npz of plain arrays with a checksum; bnas.packed.files tells the format. In
Python: bnas.packed.PackedNetwork.load(FILE)(images).

examples:
  bnas export runs/mine -o net.npz
  bnas predict net.npz images.npy
"""
PREDICT = """\
Predict the class of every image in a file with a packed network: a line an image, with
its number, class and probability.

IMAGES is a .npy file of (N, C, H, W) or (N, H, W), bytes (raw pixels, normalised as in
training) or floats (normalised already); an IDX file; a CIFAR-10 .bin file; or the digits
as they are bundled. Any of them may be gzipped. If there are labels, accuracy is printed.
"""
BENCH = """\
Race our kernels, packed networks and search steps against their naive twins, NumPy and,
where they are installed, PyTorch, ONNX Runtime (with onnx) and JAX, in turns, on one and on
all threads; measure the memory of a search step, how its cost grows, and the rooflines of
steps and packed networks on one thread: what each kind of kernel reaches of the machine's
peaks. Prints tables and where we lose; writes bench.json, bench.txt, bench.png, growth.png,
roofline-steps.png and roofline-networks.png. Close other programs first: on two cores
everything takes most of an hour, JAX's compilations some minutes a network more, and the
scale darts, which is left out unless asked for, as long again and 12 GB for PyTorch. If it
is interrupted, bench.json has the tables that were complete.

examples:
  bnas bench --only kernels networks
  bnas bench --only steps memory --scale digits cifar darts
  bnas bench --only roofline --scale cifar --threads 1
"""
PLOT = """\
Draw the figures of a search and of its trained networks, finished or not, into the
figures/ of each folder, and print their paths. Those of a trained network on the test
images come from bnas evaluate. Several searches, of any strategies, are drawn side by
side in one figure. With --genotype, draw the cells of an architecture alone.
"""
PLOT_EPILOG = """\
examples:
  bnas plot runs/mine
  bnas plot runs/one runs/other               both in one figure, runs.png
  bnas plot --genotype DARTS_V2               into DARTS_V2.png
  bnas plot --genotype runs/mine/genotype.txt -o mine.png
"""
TABLE = """\
Ask the table: every architecture of a small space (cells of two nodes, one cell for both
kinds, four operations: 648), each trained as a 1-bit network with several seeds, and its
real twin. With it, a search takes no training: docs/table.md.
"""
TABLE_EPILOG = """\
examples:
  bnas table best --dataset fashion
  bnas table query 120
  bnas table query runs/mine/genotype.txt --dataset digits
  bnas table plot -o landscape.png
  bnas table build --dataset digits --workers 2
`bnas table ACTION --help` explains an action and its options.
"""
TABLE_QUERY = """\
Print what the trainings of an architecture gave, what its network costs, and its neighbours:
the architectures that one changed operation or predecessor leads to. A genotype that is
isomorphic to one of the table will do.
"""
TABLE_BEST = """\
Print the best architectures, by their mean accuracy over the seeds. The best by test
accuracy is what a search is measured by; a search itself may look at validation alone.
"""
TABLE_CHECK = """\
Read all files of the table, check them, and print what it can tell: how far architectures
differ and how far seeds do, whether two seeds rank alike, whether the real twins do, and
how much the number of convolutions, or of another operation, explains.
"""
TABLE_BUILD = """\
Train every architecture of the space, 1-bit with three seeds and its real twin with one, measure
what each network costs, do a few trainings once more to see that they repeat to the bit, and
write the table. Each training has its file: killed at any point, the same command goes on. On
two cores the digits take about an hour, fashion three to four.
"""
TABLE_PLOT = """\
Draw the landscape: test accuracy against size, and against the real twins, each architecture
a point in the colour of its number of convolutions, or of another operation (--by).
"""
GRADCHECK = """\
Compare the backward of every operation with finite differences in float64, on cases
of many shapes, and print the worst relative error of each. Sign has no useful
derivative; it is compared with the surrogate whose derivative it claims to use.
The exit status is 1 if any case fails.

With FILE, the classes derived from bnas.Function in that file are checked instead (the
file is run): on random arrays, or, for arguments of another kind, on the cases of a
function gradient_cases(draw) in it, which returns for instance
  {"Scale": [bnas.gradcheck.Case("a vector", (draw.normal(5),), {"factor": 3.0})]}
"""
DATA = """\
Read a data set and print its splits, their statistics, and the first image of each.

digits and fashion are bundled; --data-dir names the folder of the published files of mnist (or of
Fashion-MNIST, which has the same format) or cifar10.
npz is a file of your own, which --data-dir names. np.savez writes it, with the keys
train_images, train_labels, test_images, test_labels, and optionally validation_images,
validation_labels (otherwise every 5th training image of a class is for validation).
Images are (N, C, H, W) or (N, H, W), either uint8 (raw pixels, which are normalised per
channel) or floats (normalised already); labels are integers (N,), counted from 0.
"""
DATA_EPILOG = """\
examples:
  bnas data
  bnas data --dataset npz --data-dir FILE.npz
"""
REPRODUCE = """\
Repeat an experiment of the study that asks whether DCP-NAS is better: run its searches over
the space of the table, look up what they found, and compare, seed by seed, with intervals
and tests. An architecture is chosen by what its search says; no test image has a part in it.

DIR gets NAME.md (tables, and what they say in words), NAME.png and NAME.json (all figures),
and searches/, a file for each search. A search that is there is not repeated, so after
Ctrl-C the same command goes on; and experiments share what they have in common.

Without NAME, all experiments are listed, with what each asks and about how long it takes.
FILE.toml instead of NAME is an experiment of your own: docs/study.md shows one.
"""
REPRODUCE_EPILOG = """\
examples:
  bnas reproduce                              what there is
  bnas reproduce losses --quick -o trial      does it run?
  bnas reproduce strategies --dataset digits
  bnas reproduce mine.toml
"""
HANDOUT = """\
Write the assignments for students: of each the handout, the starter to complete and the
public tests. The instructor's part (solution, hidden tests) is left out.
"""
HANDOUT_EPILOG = """\
examples:
  bnas handout course                         all of them
  bnas handout course --only 1 4              these
"""
GRADE = """\
Grade a submission: every task with its points, and for what is wrong the smallest input
that fails, what came out, what was expected, and the likely cause where it is a known one.
The submission runs in a process of its own, which never gets the expected results, with
limits on time, memory, files, processes and the network; the report says if it had none.

The hidden tests draw their inputs from --secret, so that nobody knows them beforehand; with
the same secret a report is the same (but for measured speed). The exit status for one
submission is 0 if all points are earned and 1 if not.

With all, every file below DIR is graded: STUDENT/ASSIGNMENT.py or ASSIGNMENT/STUDENT.py,
where ASSIGNMENT is 01_popcount, 01 or 1. A table, a figure and the reports go into --out.
"""
GRADE_EPILOG = """\
examples:
  bnas grade 1 starter.py --public            what a student runs
  bnas grade 1 anna.py --secret secret.txt --json anna.json
  bnas grade all submissions --secret secret.txt --jobs 2
  bnas grade 1 --gradescope popcount.zip --secret secret.txt

tutorials/assignments/instructors.md tells how to run a course with them.
"""
# What `bnas grade` writes for whom: the option's value, and its help.
SCHOOLS = {
    "gradescope": ("OUT.zip", "for Gradescope: the zip to upload as autograder"),
    "classroom50": ("DIR", "for Classroom 50: the folder of an autograder (public tests alone)"),
    "prairielearn": ("DIR", "for PrairieLearn: the folder of a question"),
    "github": ("OUT.yml", "for GitHub Actions: a workflow (public tests alone)"),
    "nbgrader": ("OUT.ipynb", "for nbgrader: the instructor's notebook"),
}
