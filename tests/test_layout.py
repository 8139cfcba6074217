"""The architecture, enforced: imports run strictly downward, and nothing in bnas/ is unpickled."""

import ast
import graphlib
import re

import pytest
from helpers import ROOT
from helpers.processes import run_python

from bnas.cli import ROOMS

# Every room of bnas/ and its floor. A module may import from lower floors, and from its own floor
# as long as that makes no cycle. A new room needs a line here (and one in docs/layout.md).
FLOORS = {
    "bnas.errors": 0,
    "bnas.config": 0,
    "bnas.npy": 0,
    "bnas.kernels": 0,
    "bnas.reference": 0,
    "bnas.backend": 0,
    "bnas.random": 0,
    "bnas.autodiff": 1,
    "bnas.gradcheck": 1,
    "bnas.functional": 2,
    "bnas.nn": 3,
    "bnas.optim": 3,
    "bnas.data": 3,
    "bnas.space": 4,
    "bnas.runs": 4,
    "bnas.evaluation": 5,
    "bnas.fused": 5,
    "bnas.packed": 5,
    "bnas.search": 5,
    "bnas.train": 5,
    "bnas.plots": 6,
    "bnas.bench": 6,
    "bnas.progress": 6,
    "bnas.contents": 6,
    "bnas.results": 6,
    "bnas.comparison": 6,
    "bnas.grading": 6,
    "bnas.tabular": 6,
    "bnas.sweeps": 6,
    "bnas.study": 6,
    "bnas.commands": 6,
    "bnas.usage": 6,
    "bnas.options": 6,
    "bnas.cli": 6,
    "bnas.__main__": 6,
}
FACES = 6
# Rooms that only some others may enter: delete a compiler's folder, and what is not named here still works.
SEAMS = {
    "bnas.fused": {"bnas.search", "bnas.train", "bnas.commands"},
    "bnas.packed": {"bnas.commands", "bnas.bench", "bnas.tabular"},
}
# Modules that need no importer inside bnas/: the entry points, and what tests of assignments import.
ROOTS = {"bnas", "bnas.cli", "bnas.__main__", "bnas.grading", "bnas.grading.worker"}
ROOTS |= {"bnas.study"}
ROOTS |= {"bnas.grading.schools.__main__"}
ROOTS |= set(ROOMS.values())  # which the command line imports by name
UNSAFE_MODULES = {
    "pickle",
    "_pickle",
    "cPickle",
    "dill",
    "cloudpickle",
    "joblib",
    "shelve",
    "marshal",
}
UNSAFE_CALLS = {"eval", "exec", "compile", "__import__"}


def parse_tree(root):
    """{module name: (ast, whether it is a package)} of all files below root/bnas."""
    modules = {}
    for path in sorted((root / "bnas").rglob("*.py")):
        parts = path.relative_to(root).with_suffix("").parts
        is_package = parts[-1] == "__init__"
        name = ".".join(parts[:-1] if is_package else parts)
        modules[name] = ast.parse(path.read_text(encoding="utf-8"), str(path)), is_package
    return modules


def imports_of(name, modules):
    """The names a module imports, wherever in it, as (dotted name, line number)."""
    tree, is_package = modules[name]
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield alias.name, node.lineno
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                parts = name.split(".")
                here = parts[: len(parts) - node.level + is_package]
                base = ".".join(here + base.split(".") * bool(base))
            for alias in node.names:
                member = f"{base}.{alias.name}"
                yield (member if member in modules else base), node.lineno


def room_of(name):
    """The room that a module belongs to."""
    return ".".join(name.split(".")[:2])


def floor_of(name):
    """The floor of a module by its room, or None if the table lacks it."""
    return FLOORS.get(room_of(name))


def layout_faults(root):
    """Every breach of the layout below root/bnas, one sentence each."""
    modules = parse_tree(root)
    faults = [
        f"{name} has no floor: give it one in FLOORS"
        for name in modules
        if name != "bnas" and floor_of(name) is None
    ]
    graph = {}
    for name in modules:
        graph[name] = set()
        if name == "bnas":  # the lazy facade stands outside the house
            continue
        for target, line in sorted(set(imports_of(name, modules))):
            if target.split(".")[0] != "bnas":
                continue
            if target == "bnas":
                if floor_of(name) != FACES:
                    faults.append(f"{name}:{line} imports the facade bnas: name the module")
                continue
            if target not in modules:
                faults.append(f"{name}:{line} imports {target}, which is no module")
                continue
            graph[name].add(target)
            if floor_of(name) is not None and (floor_of(target) or 0) > floor_of(name):
                faults.append(f"{name}:{line} imports {target} from a higher floor")
            here, there = room_of(name), room_of(target)
            if here != there and here not in SEAMS.get(there, {here}):
                faults.append(f"{name}:{line} imports {target} across the seam of {there}")
    try:
        graphlib.TopologicalSorter(graph).prepare()
    except graphlib.CycleError as error:
        faults.append("a cycle of imports: " + " <- ".join(error.args[1]))
    facade = {
        node.value
        for node in ast.walk(modules["bnas"][0])
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
    }
    imported = set().union(
        *graph.values(),
        ROOTS,
        facade,
        {f"bnas.{text}" for text in facade},
        (target for target, _ in imports_of("bnas", modules)),
    )
    faults += [f"{name} is imported by nobody in bnas/" for name in modules if name not in imported]
    return faults


def safety_faults(root):
    """Every use of pickle, eval and their like below root/bnas, one sentence each."""
    modules = parse_tree(root)
    faults = []
    for name, (tree, _) in modules.items():
        for target, line in imports_of(name, modules):
            if target.split(".")[0] in UNSAFE_MODULES:
                faults.append(f"{name}:{line} imports {target}")
        for node in ast.walk(tree):
            if isinstance(node, ast.Name) and node.id in UNSAFE_CALLS:
                faults.append(f"{name}:{node.lineno} uses {node.id}")
            if not isinstance(node, ast.Call):
                continue
            flags = [k.value for k in node.keywords if k.arg == "allow_pickle"]
            if ast.unparse(node.func) in ("np.load", "numpy.load") and not flags:
                faults.append(f"{name}:{node.lineno} calls np.load without allow_pickle=False")
            if any(not isinstance(f, ast.Constant) or f.value is not False for f in flags):
                faults.append(f"{name}:{node.lineno} allows pickle")
    return faults


def faults_of_tests(root):
    """Every test module below root/tests that leans on another one, one sentence each."""
    faults = []
    tests = {path.stem for path in (root / "tests").glob("*.py")}
    for path in sorted((root / "tests").rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"), str(path))):
            if not isinstance(node, (ast.Import, ast.ImportFrom)):
                continue
            targets = [alias.name for alias in node.names]
            if isinstance(node, ast.ImportFrom) and node.module:
                targets = [node.module]
            for first in {target.split(".")[0] for target in targets}:
                place = f"{path.name}:{node.lineno} imports {first}"
                if first in tests:
                    faults.append(f"{place}: move what it needs to helpers/")
                if first == "subprocess" and path.parent.name != "helpers":
                    faults.append(f"{place}: use helpers.processes")
    return faults


def repeated_classes(root):
    """{class name: its modules} of the names below root/bnas that stand for more than one class."""
    places = {}
    for name, (tree, _) in parse_tree(root).items():
        for node in ast.walk(tree):
            if isinstance(node, ast.ClassDef):
                places.setdefault(node.name, []).append(f"{name}:{node.lineno}")
    return {name: found for name, found in sorted(places.items()) if len(found) > 1}


def test_imports_run_downward():
    faults = layout_faults(ROOT)
    assert not faults, "\n".join(faults)


OPTION = re.compile(r"(?<![\w-])--[a-z]")
SPELT_FOR_BOTH = ("Wording", "option", "setting")  # calls whose texts are for the command line


def option_faults(root):
    """Every text of a module below the faces that tells a user of Python to give an option."""
    faults = []
    for name, (tree, _) in parse_tree(root).items():
        if floor_of(name) == FACES or name == "bnas.errors":  # which makes options of names
            continue
        allowed = set()
        for node in ast.walk(tree):
            if isinstance(node, ast.Expr):  # docstrings
                allowed.add(node.value)
            elif isinstance(node, ast.Call) and ast.unparse(node.func) in SPELT_FOR_BOTH:
                allowed |= set(ast.walk(node))
        faults += [
            f"{name}:{node.lineno} speaks of options: use bnas.errors.argument or Wording"
            for node in ast.walk(tree)
            if isinstance(node, ast.Constant) and node not in allowed
            if isinstance(node.value, str) and OPTION.search(node.value)
        ]
    return faults


def test_messages_of_the_library_speak_python_to_a_user_of_python():
    faults = option_faults(ROOT)
    assert not faults, "\n".join(faults)


ORACLES = "bnas.reference", "bnas.fused.reference"
READERS_OF_ORACLES = {  # the rest of bnas asks bnas.backend which array functions to compute with
    "bnas.backend",
    "bnas.fused.reference",
    "bnas.fused.surrogates",
    "bnas.bench",
}


def oracle_faults(root):
    """Every import of a NumPy twin by a module that has no business with it, one sentence each."""
    modules = parse_tree(root)
    return [
        f"{name}:{line} imports {target}: ask bnas.backend for the array functions"
        for name in modules
        if not any(f"{name}.".startswith(f"{reader}.") for reader in READERS_OF_ORACLES)
        for target, line in imports_of(name, modules)
        if target in ORACLES
    ]


def test_only_the_backend_and_what_checks_or_measures_imports_the_numpy_twins():
    faults = oracle_faults(ROOT)
    assert not faults, "\n".join(faults)


@pytest.mark.parametrize(
    "name, text, found",
    [
        ("functional/linear.py", "from bnas import reference\n", True),
        ("functional/linear.py", "def f():\n    import bnas.reference\n", True),
        ("functional/linear.py", "from bnas.reference import matmul\n", True),
        ("functional/linear.py", "from ..fused.reference import to_lanes\n", True),
        ("functional/linear.py", "from bnas.fused import reference\n", True),
        ("backend.py", "from bnas import reference\n", False),
        ("bench/races.py", "from bnas.fused import reference\n", False),
        ("benchmarks.py", "from bnas import reference\n", True),
    ],
)
def test_the_walk_notices_who_imports_a_twin(tmp_path, name, text, found):
    twins = {"reference.py": "", "fused/__init__.py": "", "fused/reference.py": ""}
    build(tmp_path, {**HOUSE, **twins, name: text})
    assert bool(oracle_faults(tmp_path)) == found


def test_nothing_is_unpickled_or_evaluated():
    faults = safety_faults(ROOT)
    assert not faults, "\n".join(faults)


def test_no_test_module_imports_another_or_starts_processes_by_itself():
    """A process started otherwise ignores Ctrl-C wherever the tests were started by `nohup`."""
    faults = faults_of_tests(ROOT)
    assert not faults, "\n".join(faults)


def test_a_name_stands_for_one_class():
    """But for a layer, which has the name of its operation, as in PyTorch."""
    told = [
        f"{name}: {', '.join(places)}"
        for name, places in repeated_classes(ROOT).items()
        if {room_of(place.partition(":")[0]) for place in places} != {"bnas.functional", "bnas.nn"}
    ]
    assert not told, "give each class a name of its own:\n" + "\n".join(told)


def test_command_line_starts_without_the_heavy_packages():
    """`bnas --help` has to answer at once, so importing the parser imports no array package."""
    code = (
        "import sys, bnas.cli\n"
        "print({'numpy', 'numba', 'scipy', 'matplotlib'} & set(sys.modules) or 'none')"
    )
    done = run_python("-c", code)
    assert done.stdout.strip() == "none", done.stdout + done.stderr


HEAVY = {
    "numpy",
    "numba",
    "scipy.linalg",
    "scipy.stats",
    "matplotlib",
    "tqdm",
    "threadpoolctl",
    "torch",
    "jax",
    "onnx",
    "onnxruntime",
}


@pytest.mark.slow
@pytest.mark.parametrize(
    "code, allowed",
    [
        ("import bnas", set()),
        ("from bnas.cli import main; main(['--help'])", set()),
        ("from bnas.cli import main; main(['search', '--help'])", set()),
        ("from bnas.cli import main; main(['search', '--threads', '0'])", set()),
        ("import bnas.data", {"numpy"}),
        ("import bnas.nn, bnas.optim", {"numpy", "numba"}),
        (
            "import bnas.commands",
            HEAVY
            - {"matplotlib", "torch", "jax", "onnx", "onnxruntime", "scipy.stats", "scipy.linalg"},
        ),
    ],
)
def test_what_starts_first_imports_no_more_than_it_needs(code, allowed):
    tell = f"lambda: print(*{HEAVY} & set(sys.modules), file=sys.stderr)"
    code = f"import atexit, sys; atexit.register({tell})\n{code}"
    done = run_python("-c", code)
    assert "Traceback" not in done.stderr, done.stderr
    *_, last = done.stderr.splitlines()
    assert set(last.split()) <= allowed


@pytest.mark.slow
def test_nothing_is_compiled_before_it_is_called(tmp_path):
    """Neither compiled nor fetched from the cache, whatever of bnas is imported."""
    code = """
import importlib, pkgutil
from numba.core.event import install_recorder
import numpy as np

import bnas
with install_recorder("numba:compile") as imports:
    for module in pkgutil.walk_packages(bnas.__path__, "bnas."):
        if not module.name.endswith(
            ("__main__", "_reference", ".torch_network", ".onnx_network")
        ):
            importlib.import_module(module.name)
with install_recorder("numba:compile") as call:
    bnas.kernels.pack_bits(np.ones((1, 1, 1, 1), np.float32))
print(len(imports.buffer), len(call.buffer) > 0)
"""
    empty = {"NUMBA_CACHE_DIR": str(tmp_path)}  # so that the call has to compile
    done = run_python("-c", code, variables=empty)
    assert done.stdout.split() == ["0", "True"], done.stdout + done.stderr


HOUSE = {  # a small tree in good order, into which the tests below plant one fault each
    "__init__.py": '_LAZY = {"Tensor": "autodiff", "functional": "bnas.functional"}\n',
    "errors.py": "",
    "autodiff.py": "from bnas.errors import InputError\n",
    "functional/__init__.py": "from .linear import matmul\n",
    "functional/linear.py": "from ..autodiff import Tensor\n",
    "fused/__init__.py": "",
    "packed/__init__.py": "",
    "commands.py": "import bnas.fused\nfrom bnas import packed\n",
    "cli.py": "def main(model):\n    from bnas import functional, commands\n    model.eval()\n",
}


def build(root, files):
    for name, text in files.items():
        path = root / "bnas" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return root


def test_the_walk_accepts_a_house_in_order(tmp_path):
    build(tmp_path, HOUSE)
    assert layout_faults(tmp_path) == [] and safety_faults(tmp_path) == []


@pytest.mark.parametrize(
    "name, text, fault",
    [
        ("autodiff.py", "def f():\n    import bnas.functional.linear\n", "higher floor"),
        ("autodiff.py", "from .functional import matmul\n", "higher floor"),
        ("autodiff.py", "from bnas import functional\n", "higher floor"),
        ("functional/linear.py", "from . import matmul\n", "cycle"),
        ("functional/linear.py", "from bnas import Tensor\n", "facade"),
        ("functional/linear.py", "import bnas.linaer\n", "no module"),
        ("functional/unused.py", "", "imported by nobody"),
        ("attic.py", "", "no floor"),
        ("plots.py", "from bnas.fused import compile\n", "across the seam of bnas.fused"),
        ("bench.py", "def f():\n    import bnas.fused\n", "across the seam of bnas.fused"),
        ("search.py", "from bnas.packed import PackedNetwork\n", "across the seam of bnas.packed"),
        ("packed/__init__.py", "from bnas import fused\n", "across the seam of bnas.fused"),
    ],
)
def test_the_walk_notices_a_fault_in_the_layout(tmp_path, name, text, fault):
    build(tmp_path, {**HOUSE, name: text})
    assert any(fault in found for found in layout_faults(tmp_path))


@pytest.mark.parametrize(
    "text",
    [
        "def f():\n    import pickle\n",
        "from pickle import loads\n",
        "x = eval('1')\n",
        "f = exec\n",
        "import numpy as np\nx = np.load('x.npy')\n",
        "import numpy as np\nx = np.load('x.npy', allow_pickle=True)\n",
        "import numpy as np\nx = np.lib.format.read_array(0, allow_pickle=1)\n",
    ],
)
def test_the_walk_notices_unsafe_code(tmp_path, text):
    build(tmp_path, {**HOUSE, "autodiff.py": text})
    assert safety_faults(tmp_path)


@pytest.mark.parametrize(
    "text, found",
    [
        ('raise ValueError(f"give {x} with --lr")', True),
        ('raise ValueError("give it with ", argument("lr"))', False),
        ('"""See --help."""', False),
    ],
)
def test_the_walk_notices_a_message_that_speaks_of_options(tmp_path, text, found):
    build(tmp_path, {"train.py": text})
    assert bool(option_faults(tmp_path)) == found


def test_the_walk_notices_a_class_name_that_occurs_twice(tmp_path):
    build(
        tmp_path, {**HOUSE, "a.py": "class Cell:\n    pass\n", "b.py": "\nclass Cell:\n    pass\n"}
    )
    assert repeated_classes(tmp_path) == {"Cell": ["bnas.a:1", "bnas.b:2"]}


@pytest.mark.parametrize(
    "text, fault",
    [
        ("def test_f():\n    from test_b import g\n", "test_a.py:2 imports test_b"),
        ("import test_b as b\n", "test_a.py:1 imports test_b"),
        ("from .test_b import g\n", "test_a.py:1 imports test_b"),
        ("from . import test_b\n", "test_a.py:1 imports test_b"),
        ("import conftest\n", "test_a.py:1 imports conftest"),
        ("from subprocess import run\n", "use helpers.processes"),
        ("import helpers.arrays\nfrom helpers import processes\n", None),
    ],
)
def test_the_walk_notices_a_test_module_that_leans_on_another(tmp_path, text, fault):
    (tmp_path / "tests" / "helpers").mkdir(parents=True)
    files = {
        "test_a.py": text,
        "test_b.py": "",
        "conftest.py": "",
        "helpers/c.py": "import subprocess",
    }
    for name, content in files.items():
        (tmp_path / "tests" / name).write_text(content)
    found = faults_of_tests(tmp_path)
    assert found == [] if fault is None else len(found) == 1 and fault in found[0]
