"""The wheel carries what it should, and works where there is no checkout."""

import configparser
import re
import shutil
import zipfile

import pytest
from helpers import ROOT
from helpers.processes import run_python


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """A wheel built from a copy of the sources, so that no build litter lands in the checkout."""
    folder = tmp_path_factory.mktemp("wheel")
    source = folder / "source"
    for name in ("bnas", "data", "tests"):
        shutil.copytree(ROOT / name, source / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("setup.cfg", "pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source / name)
    done = run_python(
        "-m",
        "pip",
        "wheel",
        source,
        "--no-deps",
        "--no-build-isolation",
        "--disable-pip-version-check",
        "--wheel-dir",
        folder,
        cwd=folder,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    (path,) = folder.glob("bnas-*.whl")
    return path


@pytest.mark.slow
def test_the_wheel_holds_all_of_the_package_and_nothing_else(wheel):
    modules = {p.relative_to(ROOT).as_posix() for p in (ROOT / "bnas").rglob("*.py")}
    data = {f"bnas/bundled/{p.name}" for p in (ROOT / "data").iterdir() if p.is_file()}
    data |= {f"bnas/bundled/tabular/{p.name}" for p in (ROOT / "data").glob("tabular/*")}
    data |= {p.relative_to(ROOT).as_posix() for p in (ROOT / "bnas").rglob("*.toml")}
    with zipfile.ZipFile(wheel) as archive:
        names = {n for n in archive.namelist() if ".dist-info/" not in n}
        (licence,) = [n for n in archive.namelist() if n.endswith("/LICENSE")]
        assert archive.read(licence) == (ROOT / "LICENSE").read_bytes()
    assert "bnas/bundled/optdigits.csv.gz" in names
    assert names == modules | data


def test_the_wheel_installs_the_command_and_names_what_it_needs(wheel):
    entry_points, metadata = configparser.ConfigParser(), None
    with zipfile.ZipFile(wheel) as archive:
        for name in archive.namelist():
            if name.endswith("entry_points.txt"):
                entry_points.read_string(archive.read(name).decode())
            if name.endswith("METADATA"):
                metadata = archive.read(name).decode()
    assert dict(entry_points["console_scripts"]) == {"bnas": "bnas.cli:main"}
    needs = re.findall(r"^Requires-Dist: (\w+)[^;\n]*$", metadata, re.MULTILINE)
    assert sorted(needs) == ["matplotlib", "numba", "numpy", "scipy", "tqdm"]


def test_the_digits_load_from_the_wheel_alone(wheel, tmp_path):
    site = tmp_path / "site"
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(site)
    code = (
        "import sys; sys.path.insert(0, sys.argv[1]); "
        "import bnas.data; assert bnas.data.__file__.startswith(sys.argv[1]); "
        "print(bnas.data.load_dataset('digits').image_shape)"
    )
    done = run_python("-c", code, site, cwd=tmp_path)
    assert done.stdout.strip() == "(1, 8, 8)", done.stderr


BESIDE = """
import bnas
x = bnas.Tensor([2.0], requires_grad=True)
(x * x).sum().backward()
import bnas.nn
from bnas import functional as F
print(x.grad[0], F.relu(x).shape, bnas.nn.Linear(1, 1).weight.shape)
"""


@pytest.mark.slow
@pytest.mark.parametrize("installed", ["as a link to the clone", "as a copy"])
def test_a_script_beside_the_clone_finds_the_package(wheel, tmp_path, installed):
    """There the clone, a folder called bnas, comes before what was installed."""
    paths, beside = "", tmp_path / "beside"
    if installed == "as a copy":
        paths = tmp_path / "site"
        with zipfile.ZipFile(wheel) as archive:
            archive.extractall(paths)
    beside.mkdir()
    (beside / "bnas").symlink_to(ROOT)
    (beside / "script.py").write_text(BESIDE)
    done = run_python("script.py", cwd=beside, variables={"PYTHONPATH": str(paths)})
    assert done.stdout.split() == ["4.0", "(1,)", "(1,", "1)"], done.stdout + done.stderr
