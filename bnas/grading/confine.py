"""What a submission's process may not do, set by the process itself before it meets the submission.

Only the standard library is imported. What a platform does not have is left out; `confine` says what
is in force, and the report of a grading what is not. Linux has all of it from kernel 5.13 on, and for signals
to other processes of the same user from 6.12 on.
"""

import contextlib
import ctypes
import os
import sys
import sysconfig
from pathlib import Path

try:  # now, as Python's own files may not be readable any more when it is needed
    import resource
except ImportError:  # Windows
    resource = None

NOBODY = 65534
# What each text of `confine` begins with, and what its absence means.
MEASURES = {
    "network": "no network",
    "user": "a user without rights (the grader has to run as root)",
    "files": "no files but its own",
    "memory": "a bound of memory",
    "processes": "no processes of its own",
}
PACKAGE = Path(__file__).resolve().parent.parent  # bnas, with the solution of many an assignment
# System calls of Landlock, the same on every architecture (linux/landlock.h).
_CREATE_RULESET, _ADD_RULE, _RESTRICT_SELF = 444, 445, 446
_EXECUTE, _WRITE_FILE, _READ_FILE, _READ_DIR, _TRUNCATE, _IOCTL = 1, 2, 4, 8, 1 << 14, 1 << 15
_OF_FILES = _EXECUTE | _WRITE_FILE | _READ_FILE | _TRUNCATE | _IOCTL
_NEW_NETWORK, _NEW_USER, _NEW_IPC = 0x40000000, 0x10000000, 0x08000000
_NO_NEW_PRIVILEGES, _KEEP_CAPABILITIES = 38, 8
_READ_ANY_FILE = 1 << 2  # CAP_DAC_READ_SEARCH
_CAPABILITY_VERSION = 0x20080522


def confine(scratch, memory, seconds, file_size, open_files, user=NOBODY):
    """Give up all that a submission does not need; returns what is in force, a list of texts.

    scratch: the only folder that can be written, and beside Python's own the only one that can be read.
    memory: address space, bytes. seconds: of CPU. file_size: of a file that is written, bytes. user: the number
    of the one to become, where this is root.
    """
    in_force = []
    if sys.platform == "linux":
        # Where memory runs out, this process is to be ended first.
        with contextlib.suppress(OSError):
            Path("/proc/self/oom_score_adj").write_text("1000")
        in_force += _without_network()
        rules = _file_rules(scratch)
        if os.geteuid() == 0:
            in_force += _as_nobody(user, keep_reading=rules is not None)
        if rules is not None and _restrict(rules):
            in_force.append("files: its scratch folder and Python's libraries alone")
    in_force += _limits(memory, seconds, file_size, open_files)
    return in_force


def _libc():
    return ctypes.CDLL(None, use_errno=True)


def _without_network():
    """A network of its own, without any device, and shared memory that ends with the process.

    As root directly, else as root of a user namespace.
    """
    own = _NEW_NETWORK | _NEW_IPC | (0 if os.geteuid() == 0 else _NEW_USER)
    return ["network: none"] if _libc().unshare(own) == 0 else []


def _as_nobody(user, keep_reading):
    """From root to a user without rights; reading stays allowed where files are confined otherwise.

    Python may lie in a folder that root alone may enter, and modules are read when they are first used.
    """
    libc = _libc()
    if keep_reading:
        libc.prctl(_KEEP_CAPABILITIES, 1, 0, 0, 0)
    os.setgroups([])
    os.setresgid(user, user, user)
    os.setresuid(user, user, user)
    if keep_reading:
        head = (ctypes.c_uint32 * 2)(_CAPABILITY_VERSION, 0)
        kept = (ctypes.c_uint32 * 6)(_READ_ANY_FILE, _READ_ANY_FILE)  # effective, permitted
        if libc.capset(head, kept) != 0:  # root of a container may not have it to keep
            libc.capset(head, (ctypes.c_uint32 * 6)())
    return ["user: nobody"]


class _Beneath(ctypes.Structure):
    """struct landlock_path_beneath_attr."""

    _pack_ = 1
    _fields_ = (("access", ctypes.c_uint64), ("folder", ctypes.c_int32))


def _file_rules(scratch):
    """A ruleset of Landlock, a file descriptor, or None where the kernel has none."""
    libc = _libc()
    version = libc.syscall(_CREATE_RULESET, None, ctypes.c_size_t(0), 1)
    if version < 1:
        return None
    bits = 13 + sum(version >= since for since in (2, 3, 5))
    every = (1 << bits) - 1
    network = 3 if version >= 4 else 0  # TCP: neither bind nor connect
    scoped = 3 if version >= 6 else 0  # signals and abstract sockets stay within
    attributes = (ctypes.c_uint64 * 3)(every, network, scoped)
    size = 8 * (1 + (version >= 4) + (version >= 6))
    rules = libc.syscall(_CREATE_RULESET, attributes, ctypes.c_size_t(size), 0)
    if rules < 0:
        return None
    readable = _EXECUTE | _READ_FILE | _READ_DIR
    paths = {Path(scratch): every, Path("/dev/null"): _READ_FILE | _WRITE_FILE}
    paths |= {Path(f"/dev/{name}"): _READ_FILE for name in ("urandom", "zero")}
    names = ("stdlib", "platstdlib", "purelib", "platlib")
    folders = {sysconfig.get_path(name) for name in names} | {"/lib", "/lib64", "/usr/lib"}
    folders |= {"/usr/local/lib", "/etc/ld.so.cache", os.path.join(sys.base_prefix, "lib")}
    for folder in folders:
        for path in _without_bnas(Path(folder).resolve()):
            paths[path] = _READ_DIR if path in PACKAGE.parents else readable
    for path, access in paths.items():
        with contextlib.suppress(OSError):
            opened = os.open(path, os.O_PATH | os.O_CLOEXEC)
            if not path.is_dir():
                access &= _OF_FILES
            rule = _Beneath(access & every, opened)
            libc.syscall(_ADD_RULE, rules, 1, ctypes.byref(rule), 0)
            os.close(opened)
    return rules


def _without_bnas(path):
    """The path, or where bnas lies in it, that it may be listed and the paths of all else in it."""
    if path not in PACKAGE.parents:
        return [path] if path != PACKAGE else []
    return [path, *(part for child in path.iterdir() for part in _without_bnas(child))]


def _restrict(rules):
    libc = _libc()
    libc.prctl(_NO_NEW_PRIVILEGES, 1, 0, 0, 0)
    confined = libc.syscall(_RESTRICT_SELF, rules, 0) == 0
    os.close(rules)
    return confined


def _limits(memory, seconds, file_size, open_files):
    if resource is None:
        return []
    wanted = {
        "RLIMIT_AS": memory,
        "RLIMIT_CPU": seconds,
        "RLIMIT_FSIZE": file_size,
        "RLIMIT_NOFILE": open_files,
        "RLIMIT_CORE": 0,
        "RLIMIT_NPROC": 0,  # neither a process nor a thread more
    }
    told = []
    for name, value in wanted.items():
        # At the hard limit of CPU the system sends SIGKILL; before it, SIGXCPU, which tells why.
        most = value + 1 if name == "RLIMIT_CPU" else value
        with contextlib.suppress(AttributeError, ValueError, OSError):
            resource.setrlimit(getattr(resource, name), (value, most))
            told.append(name)
    texts = {
        "RLIMIT_AS": f"memory: {memory / 2**30:.1f} GiB",
        "RLIMIT_NPROC": "processes: none of its own",
    }
    return [texts[name] for name in told if name in texts]
