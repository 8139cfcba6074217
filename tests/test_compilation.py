"""How kernels are compiled: for any processor the same results, from a cache that is never stale.

All of this is settled when Numba starts, so each case is a process of its own with its own cache.
"""

import json
import os
import platform
import shutil

import numpy as np
import pytest
from helpers import ROOT
from helpers.processes import DEVNULL, PIPE, run_python, start_python

from bnas import reference

pytestmark = pytest.mark.slow


def start(folder, code, package=ROOT, stdin=DEVNULL, **settings):
    """Begin to run Python code in `folder`, where Numba keeps its cache, with NUMBA_ settings."""
    others = {k: v for k, v in os.environ.items() if not k.startswith("NUMBA_")}
    variables = {f"NUMBA_{name}": str(value) for name, value in settings.items()}
    variables.update(NUMBA_CACHE_DIR=str(folder / "cache"), PYTHONPATH=str(package))
    variables.update(PYTHONDONTWRITEBYTECODE="1")  # sources may change twice in a second
    return start_python(
        "-c", code, environment=others, variables=variables, cwd=folder, stdin=stdin
    )


def finish(process):
    """What the process printed, as JSON."""
    output, errors = process.communicate()
    assert process.returncode == 0, output + errors
    return json.loads(output)


def run(*args, **settings):
    return finish(start(*args, **settings))


# ------------------------------------------------------------------------------------ processors

RESULTS = """
import hashlib, json
import numba
import numpy as np

def digests(module):
    x, w, one, beta = (
        np.random.default_rng(seed).standard_normal(shape).astype(np.float32)
        for seed, shape in enumerate([(3, 70, 6, 11), (6, 70, 3, 3), (140, 1, 3, 3), (6,)])
    )
    words = module.pack_bits(x)
    window = (1, 2), (1, 1), (2, 1)
    arrays = {
        "pack_bits": words,
        "xnor_matmul": module.xnor_matmul(words[0, 0, 0], words[1].reshape(-1, 2), 70),
        "dense": module.xnor_conv2d(x, w, None, *window, 1),
        "dense, times beta": module.xnor_conv2d(x, w, beta, *window, 1),
        "depthwise": module.xnor_conv2d(x, one, None, *window, 70),
    }
    return {name: hashlib.sha256(array.tobytes()).hexdigest() for name, array in arrays.items()}
"""
ON_ALL_THREADS = """
from bnas import kernels
from bnas.kernels import threads

threads.WORTH_SHARING = 0
numba.set_num_threads(1)
alone = digests(kernels)
numba.set_num_threads(numba.config.NUMBA_NUM_THREADS)
print(json.dumps([alone, digests(kernels)]))
"""
PROCESSORS = {
    "this one": {},
    "generic": {"CPU_NAME": "generic"},
    "128 bits": {"CPU_NAME": "generic", "CPU_FEATURES": "+sse2,+ssse3,+sse4.1,+sse4.2,+popcnt"},
}


def test_every_processor_and_number_of_threads_gives_the_same_bits(tmp_path):
    cases = dict(PROCESSORS)
    if platform.machine() not in ("x86_64", "AMD64"):
        del cases["128 bits"]  # the features are names of that family
    processes = {}
    for name, settings in cases.items():
        (tmp_path / name).mkdir()
        settings = {"NUM_THREADS": min(2, os.cpu_count()), **settings}
        processes[name] = start(tmp_path / name, RESULTS + ON_ALL_THREADS, **settings)
    scope = {}
    exec(RESULTS, scope)
    expected = scope["digests"](reference)
    for name, process in processes.items():
        assert finish(process) == [expected, expected], name


# ----------------------------------------------------------------------------------------- cache

CACHED = """
import json, sys
import numpy as np
from numba.core.dispatcher import Dispatcher
from bnas import kernels, reference

x = np.random.default_rng(0).standard_normal((2, 70, 3, 7))
words = kernels.pack_bits(x)
rows = words.reshape(-1, words.shape[-1])
product = kernels.xnor_matmul(rows[:3], rows, 70)
stats = {
    id(f): f.stats
    for name, module in list(sys.modules.items()) if name.startswith("bnas.")
    for f in vars(module).values() if isinstance(f, Dispatcher)
}.values()
print(json.dumps({
    "hits": sum(sum(s.cache_hits.values()) for s in stats),
    "misses": sum(sum(s.cache_misses.values()) for s in stats),
    "packs as its twin": np.array_equal(words, reference.pack_bits(x)),
    "multiplies as its twin": np.array_equal(product, reference.xnor_matmul(rows[:3], rows, 70)),
    "product": product.tolist(),
}))
"""
NOTHING_COUNTED = """

@jit
def count_tile(panel, start, weights, at, length, counts):
    counts[:] = 0
"""


@pytest.fixture
def package(tmp_path):
    """A copy of the package whose sources a test may edit; its folder is to be the path."""
    source = tmp_path / "source"
    shutil.copytree(ROOT / "bnas", source / "bnas", ignore=shutil.ignore_patterns("__pycache__"))
    return source


def append(path, text):
    path.write_text(path.read_text() + text)


def test_a_cache_is_used_until_a_helper_of_another_file_changes(package, tmp_path):
    first = run(tmp_path, CACHED, package)
    assert first["hits"] == 0 and first["misses"] > 0
    assert first["packs as its twin"] and first["multiplies as its twin"]
    second = run(tmp_path, CACHED, package)
    assert second["hits"] > 0 and second["misses"] == 0  # helpers came with their kernels
    assert second["product"] == first["product"]

    append(package / "bnas/kernels/tiles.py", NOTHING_COUNTED)  # compiled into a kernel of xnor.py
    edited = run(tmp_path, CACHED, package)
    assert edited["hits"] == 0 and np.all(np.array(edited["product"]) == 70)


NEW, REUSED = [0, 1], [1, 0]  # hits and misses of the cache
HELPER = """
from bnas.kernels.jit import jit

@jit
def add(x):
    return x + {number}
"""
CALLER = """
from bnas.kernels.jit import jit
{imports}

@jit
def chain(x):
    return {calls}
"""
CHAINED = """
import json
from caller import chain

result, stats = chain(0), chain.stats
print(json.dumps([result, sum(stats.cache_hits.values()), sum(stats.cache_misses.values())]))
"""


def test_an_edit_in_any_folder_of_kernels_counts_and_an_edit_elsewhere_does_not(package, tmp_path):
    """One kernel, in a file that stays as it is, calls a helper in each of the folders."""
    folders = sorted(path for path in (package / "bnas").rglob("kernels") if path.is_dir())
    names = [folder.relative_to(package).as_posix() for folder in folders]
    assert {"bnas/kernels", "bnas/fused/kernels", "bnas/packed/kernels"} <= set(names)
    for folder in folders:
        (folder / "helper.py").write_text(HELPER.format(number=1))
    modules = [f"{name.replace('/', '.')}.helper" for name in names]
    imports = [f"from {module} import add as add{i}" for i, module in enumerate(modules)]
    calls = " + ".join(f"add{i}(x)" for i in range(len(modules)))
    (tmp_path / "caller.py").write_text(CALLER.format(imports="\n".join(imports), calls=calls))
    total = len(folders)
    assert run(tmp_path, CHAINED, package) == [total, *NEW]
    assert run(tmp_path, CHAINED, package) == [total, *REUSED]

    for folder in folders:
        (folder / "helper.py").write_text(HELPER.format(number=10))
        total += 9
        assert run(tmp_path, CHAINED, package) == [total, *NEW], folder

    for path in (package / "bnas").rglob("*.py"):
        if path.parent not in folders:
            append(path, "# edit\n")
    assert run(tmp_path, CHAINED, package) == [total, *REUSED]


SMALL = """
from bnas.kernels.jit import jit

@jit
def double(x):
    return x + x
"""
DOUBLED = """
import json, sys
from small import double

assert double(2) == 4
{then}
stats = double.stats
print(json.dumps([sum(stats.cache_hits.values()), sum(stats.cache_misses.values())]))
"""
DOUBLE = DOUBLED.format(then="")
BOTH = DOUBLED.format(then="assert double(1.5) == 3")
BOTH_IN_TIME = DOUBLED.format(
    then="print('ready', flush=True); sys.stdin.readline(); assert double(1.5) == 3"
)


@pytest.fixture
def small(tmp_path):
    """A folder with a kernel that is quick to compile."""
    (tmp_path / "small.py").write_text(SMALL)
    return tmp_path


def entries(folder):
    """{file: bytes} of the cache in `folder`, whatever the sources."""
    paths = [path for path in (folder / "cache").rglob("*") if path.is_file()]
    return {path: path.stat().st_size for path in paths}


def test_entries_of_older_sources_go_away(package, small):
    assert run(small, DOUBLE, package) == NEW
    first = entries(small)
    assert {path.suffix for path in first} == {".nbc"}
    for k in range(3):
        append(package / "bnas/kernels/tiles.py", f"# edit {k}\n")
        (small / "small.py").write_text("\n" * (k + 1) + SMALL)  # Numba's names hold the line
        assert run(small, DOUBLE, package) == NEW
        now = entries(small)
        assert len(now) == len(first) and not set(now) & set(first)
        assert sum(now.values()) < 1.1 * sum(first.values())
    assert run(small, DOUBLE, package) == REUSED


def test_every_entry_has_a_file_of_its_own(small):
    """In one index for all, as Numba has it, two processes can point at each other's machine code."""
    assert run(small, BOTH) == [0, 2]
    assert [path.suffix for path in entries(small)] == [".nbc"] * 2
    assert run(small, BOTH) == [2, 0]


IN_ENTRIES = """
import json, pickle
from pathlib import Path
from llvmlite.binding import parse_bitcode

found = []
for path in Path("cache").rglob("*.nbc"):
    (_, kind, (_, form)), *_ = pickle.loads(path.read_bytes())
    blocks = [block for function in parse_bitcode(form).functions for block in function.blocks]
    found.append([kind, sorted({i.opcode for block in blocks for i in block.instructions})])
print(json.dumps(found))
"""


def test_an_entry_holds_machine_code_and_names_alone(small):
    """LLVM's form of a kernel takes ten times as much once it is loaded, and nobody asks for it."""
    assert run(small, BOTH) == [0, 2]
    assert run(small, IN_ENTRIES) == [["object", ["ret"]]] * 2


LIGHT = """
import json
import numba
import numpy as np
from numba.core.runtime import rtsys
from small import double

assert double(1.5) == 3
loaded = rtsys._library is not None

@numba.njit
def own(x, y):
    return np.convolve(x, y), np.correlate(x, y)

x, y = np.arange(9.0), np.array([3.0, 1.0, 2.0])
expected = np.convolve(x, y), np.correlate(x, y)
same = all(np.array_equal(a, b) for a, b in zip(own(x, y), expected))
print(json.dumps([loaded, same, rtsys._library is not None]))
"""


def test_a_kernel_from_the_cache_needs_no_compiler(small):
    """And whatever else is compiled with Numba in the same process works as ever."""
    assert run(small, LIGHT) == [True, True, True]
    assert run(small, LIGHT) == [False, True, True]


def test_an_entry_in_the_place_of_another_is_not_run(small):
    """Each is sound, but made for numbers of another type."""
    assert run(small, BOTH) == [0, 2]
    first, second = (path for path in entries(small) if path.suffix == ".nbc")
    swapped = second.read_bytes(), first.read_bytes()
    for path, data in zip((first, second), swapped):
        path.write_bytes(data)
    assert run(small, BOTH) == [0, 2]
    assert run(small, BOTH) == [2, 0]


PARTS = """
import gc, json, os
from pathlib import Path
from bnas.kernels.jit import jit

@jit
def double(x):
    return x + x

@jit
def quadruple(x):
    return double(double(x))

def kept():
    return len(list(Path(os.environ["NUMBA_CACHE_DIR"]).rglob("*.nbc")))

results = [quadruple(2), kept(), len(double.signatures)]
results += [double(2), kept(), len(double.signatures)]
results += [quadruple(0.5), double(0.5), gc.isenabled()]
gc.disable()
print(json.dumps([*results, double(2j).imag, gc.isenabled()]))
"""


def test_what_a_kernel_calls_is_compiled_into_it_and_on_its_own_only_if_python_calls_it(tmp_path):
    (tmp_path / "parts.py").write_text(PARTS)
    first = [8, 1, 0], [4, 2, 1], [2.0, 1.0, True], [4.0, False]
    assert run(tmp_path, "import parts") == [x for part in first for x in part]


LITERALS = """
import json
from numba.core import event
from bnas.kernels.jit import jit

@jit
def scaled(x, by):
    return x * by

@jit
def sixfold(x):
    return scaled(scaled(x, x // x), by=2) + scaled(1, x) + scaled(3, by=x)

with event.install_recorder("numba:compile") as recorder:
    results = [sixfold(5)]
names = [found.data["dispatcher"].__name__ for _, found in recorder.buffer if found.is_start]
print(json.dumps(results + sorted(names)))
"""


def test_a_literal_argument_is_compiled_for_as_any_number_is(tmp_path):
    (tmp_path / "literals.py").write_text(LITERALS)
    assert run(tmp_path, "import literals") == [30, "scaled", "sixfold"]


def test_two_processes_with_different_sources_share_a_folder(package, small):
    run(small, DOUBLE, package)
    older = start(small, BOTH_IN_TIME, package, stdin=PIPE)
    assert older.stdout.readline() == "ready\n"
    append(package / "bnas/kernels/tiles.py", "# edit\n")
    assert run(small, DOUBLE, package) == NEW  # and takes away what the older one has
    output, errors = older.communicate("\n")
    assert json.loads(output) == [1, 1], errors
    assert run(small, DOUBLE, package) == REUSED  # the older one left the newer one's alone


def test_a_damaged_cache_is_no_error_and_mended(small):
    assert run(small, DOUBLE) == NEW
    for damage in (lambda data: b"", lambda data: b"garbage", lambda data: data[: len(data) // 2]):
        (path,) = entries(small)
        path.write_bytes(damage(path.read_bytes()))
        assert run(small, DOUBLE) == NEW
    assert run(small, DOUBLE) == REUSED


FLIPS = """
import importlib, json, os, pathlib, random
import small

def counted():
    stats = importlib.reload(small).double.stats
    assert small.double(21) == 42
    return [sum(stats.cache_hits.values()), sum(stats.cache_misses.values())]

counted()
paths = [p for p in pathlib.Path(os.environ["NUMBA_CACHE_DIR"]).rglob("*") if p.is_file()]
draw, counts = random.Random(0), [counted()]
for _ in range(60):
    path = draw.choice(paths)
    data = bytearray(path.read_bytes())
    data[draw.randrange(len(data))] ^= 1 << draw.randrange(8)
    path.write_bytes(data)
    counts.append(counted())
print(json.dumps([*counts, counted()]))
"""


def test_machine_code_with_one_bit_flipped_is_never_run(small):
    assert run(small, FLIPS) == [REUSED] + 60 * [NEW] + [REUSED]


def test_a_cache_that_cannot_be_written_is_no_error(small):
    run(small, DOUBLE)
    (folder,) = (small / "cache").glob("*/kernels-*")
    shutil.rmtree(folder)
    folder.write_text("")  # a file in its place stops even the administrator
    assert run(small, DOUBLE) == NEW


def test_no_folder_for_a_cache_is_no_error(small):
    (small / "cache").write_text("")
    code = "import small; print(small.double(2))"
    assert run(small, code, CACHE_LOCATOR_CLASSES="UserProvidedCacheLocator") == 4


# --------------------------------------------------------------------------------- bounds checks

PROBE = """
import numpy as np
from bnas.kernels.jit import jit
from bnas.kernels import vectors as v

@jit
def move(source, i, target, j):
    v.store(target, j, v.load(source, i))

@jit
def move_first(source, i, target, j, count):
    v.store_first(target, j, v.load_first(source, i, count), count)

@jit
def read_signs(source, i):
    words = np.empty(8, np.uint64)
    v.store(words, 0, v.sign_bits(source, i, np.uint64(0)))
    return words[0]

@jit
def write_signs(source, i, target, j, count):
    v.store_signs(target, j, source, i, count)

@jit
def read_small(source, i):
    numbers = np.empty(16, np.int32)
    v.store(numbers, 0, v.load_int32(source, i))
    return numbers[0]
"""
CHECK = """
import json
import numpy as np
import probe

a, b = np.ones(40, np.float32), np.ones(40, np.float32)
small = np.ones(40, np.int8)
calls = json.loads('''{calls}''')
outcomes = []
for name, *numbers in calls:
    arguments = dict(
        move=(a, numbers[0], b, *numbers[1:]), move_first=(a, numbers[0], b, *numbers[1:]),
        read_signs=(a, *numbers), write_signs=(a, numbers[0], small, *numbers[1:]),
        read_small=(small, *numbers),
    )[name]
    try:
        getattr(probe, name)(*arguments)
        outcomes.append("fine")
    except IndexError:
        outcomes.append("IndexError")
stats = probe.move.stats
print(json.dumps([outcomes, sum(stats.cache_hits.values()), sum(stats.cache_misses.values())]))
"""
INSIDE = [  # of arrays with 40 elements
    ("move", 0, 24),
    ("move", 24, 0),
    ("move_first", 24, 24, 16),
    ("move_first", 39, 30, 1),
    ("move_first", 30, 30, 10),
    ("move_first", 40, 40, 0),  # no element is no access, wherever
    ("move_first", 56, 0, 0),
    ("move_first", 0, 56, 0),
    ("read_signs", 32),
    ("write_signs", 24, 24, 16),
    ("write_signs", 37, 24, 3),
    ("read_small", 24),
]
OUTSIDE = [
    ("move", 25, 0),
    ("move", 0, 25),
    ("move", 0, 40),
    ("move", -1, 0),
    ("move", 0, -1),
    ("move_first", 30, 0, 11),
    ("move_first", 0, 30, 11),
    ("move_first", 40, 0, 1),
    ("move_first", 0, -1, 1),
    ("read_signs", 33),
    ("read_signs", -1),
    ("write_signs", 38, 24, 3),
    ("write_signs", 0, 25, 3),  # the others are zeros, and written
    ("read_small", 25),
]


def test_checked_code_catches_every_vector_outside_and_never_comes_from_an_unchecked_run(tmp_path):
    (tmp_path / "probe.py").write_text(PROBE)
    inside = CHECK.format(calls=json.dumps(INSIDE))
    fine, new, reused = ["fine"] * len(INSIDE), [0, 1], [1, 0]
    assert run(tmp_path, inside) == [fine, *new]
    assert run(tmp_path, inside) == [fine, *reused]
    both = CHECK.format(calls=json.dumps(INSIDE + OUTSIDE))
    checked = fine + ["IndexError"] * len(OUTSIDE)
    assert run(tmp_path, both, BOUNDSCHECK=1) == [checked, *new]
    assert run(tmp_path, both, BOUNDSCHECK=1) == [checked, *reused]
    assert run(tmp_path, inside) == [fine, *reused]


def test_compiling_leaves_numbas_level_of_optimisation_as_it_was(tmp_path):
    code = """
import numpy as np
from numba.core import config
from bnas import kernels
from bnas.kernels.jit import OPTIMISATION
before = config.OPT
kernels.pack_bits(np.ones((3, 1, 2, 2)))
print(int(before), int(config.OPT), int(OPTIMISATION))
"""
    done = run_python("-c", code, variables={"NUMBA_CACHE_DIR": str(tmp_path)})
    assert done.stdout.split() == ["3", "3", "2"], done.stdout + done.stderr
