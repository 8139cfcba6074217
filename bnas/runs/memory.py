"""How much memory this process has taken."""

import sys
from pathlib import Path

try:
    import resource
except ImportError:  # Windows
    resource = None


def peak_memory():
    """The most bytes of memory that this process ever held at once; None where the system does not tell."""
    if sys.platform == "linux":
        # Linux hands ru_maxrss down to every child: a large parent would hide what is measured.
        for line in Path("/proc/self/status").read_text(encoding="utf-8").splitlines():
            if line.startswith("VmHWM"):
                return int(line.split()[1]) * 1024
    if resource is None:
        return None
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024
