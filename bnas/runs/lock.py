"""One process writes to a folder at a time."""

import os
from pathlib import Path

from bnas.errors import InputError
from bnas.runs.files import explain

try:
    import fcntl
except ImportError:  # Windows: no lock there, so the user has to take care
    fcntl = None


class FolderLock:
    """A folder that exists, held for writing by this process until `release`, or until the process ends.

    Raises InputError when another process holds it, or when it cannot be written.
    """

    def __init__(self, path):
        self.path = Path(path)
        with explain("lock", self.path / ".lock", "choose a folder that can be written"):
            file = open(self.path / ".lock", "ab")
            try:
                if fcntl is not None:  # the kernel lets go of it when the process ends, however
                    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                file.close()
                raise InputError(
                    f"another process is writing to {self.path}; wait until it has "
                    "ended, or choose another folder"
                ) from None
            except OSError:
                file.close()
                raise
        self._file = file
        try:
            self.require()  # the folder may have been removed before we had the lock
        except BaseException:
            self.release()
            raise

    def require(self):
        """To be called before each write.

        Raises InputError if the folder was removed or replaced since: the lock is on a file, which we then hold in
        vain, and what another process now writes there is not ours to overwrite.
        """
        held = os.fstat(self._file.fileno())
        try:
            there = os.stat(self.path / ".lock")
        except OSError:
            there = None
        if there is None or (there.st_dev, there.st_ino) != (held.st_dev, held.st_ino):
            raise InputError(
                f"{self.path} was removed or replaced while this run was writing to it; "
                "the run has ended here, start it again in a new folder"
            )

    def release(self):
        """Let others write to the folder."""
        self._file.close()
