"""What a measurement was made on: without it a figure means nothing to anybody else."""

import os
import platform
from datetime import datetime, timezone
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import llvmlite.binding
import numba
import numpy as np

from bnas import __version__

PACKAGES = (
    "numpy",
    "numba",
    "llvmlite",
    "scipy",
    "threadpoolctl",
    "torch",
    "onnxruntime",
    "jax",
)
# Instruction sets that 1-bit kernels or their peers can use, in LLVM's spelling.
FEATURES = (
    "popcnt",
    "avx2",
    "avx512f",
    "avx512bw",
    "avx512vl",
    "avx512bitalg",
    "avx512vpopcntdq",
    "avxvnni",
    "avx512vnni",
    "avx512bf16",
    "amx-int8",
    "amx-bf16",
    "neon",
    "dotprod",
    "i8mm",
    "sve",
)
THREAD_VARIABLES = (
    "NUMBA_NUM_THREADS",
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "VECLIB_MAXIMUM_THREADS",
)


def machine_record(cpuinfo="/proc/cpuinfo"):
    """Machine and versions as plain data, fit for JSON; call it before the measurements begin.

    cpuinfo: the file in which Linux names the processor; elsewhere the platform is asked.

    Returns:
        A dict: "date" (UTC, ISO 8601), "cpu", "architecture" (LLVM's name of it), "features" (those
        of FEATURES that it has), "cores" (that this process may use), "load" (average of the last
        minute), "system", "python", "bnas", "versions" ({package: version}), "blas",
        "numba_threads" and "thread_variables" (those set in the environment). What cannot be
        found out, or is not installed, is None.
    """
    return {
        "date": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "cpu": _cpu_name(cpuinfo),
        "architecture": llvmlite.binding.get_host_cpu_name(),
        "features": _features(),
        "cores": _usable_cores(),
        "load": _load(),
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        "bnas": __version__,
        "versions": {name: _version(name) for name in PACKAGES},
        "blas": _blas(),
        "numba_threads": numba.config.NUMBA_NUM_THREADS,
        "thread_variables": {k: os.environ[k] for k in THREAD_VARIABLES if k in os.environ},
    }


def _cpu_name(cpuinfo):
    try:
        lines = Path(cpuinfo).read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        lines = []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine() or None


def _features():
    try:
        present = llvmlite.binding.get_host_cpu_features()
    except RuntimeError:  # LLVM cannot ask every kind of processor
        return None
    return [name for name in FEATURES if present.get(name)]


def _usable_cores():
    try:
        return len(os.sched_getaffinity(0))
    except AttributeError:  # Linux only
        return os.cpu_count()


def _load():
    try:
        return os.getloadavg()[0]
    except (AttributeError, OSError):  # Windows has none
        return None


def _version(package):
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _blas():
    blas = np.show_config(mode="dicts")["Build Dependencies"]["blas"]
    return f"{blas.get('name')} {blas.get('version')}"
