"""Remove a folder that a submission could write into."""

import os

_FOLDER = os.O_RDONLY | getattr(os, "O_DIRECTORY", 0)


def remove(folder):
    """Remove a folder with all that lies in it.

    shutil.rmtree will not do: folders may be closed to their owner, or nested deeper than Python may call
    itself, than files may be open at once and than a path may be long. Nothing may change meanwhile.
    """
    os.chmod(folder, 0o700)
    here = os.open(folder, _FOLDER)
    try:
        # Of the folders down to here; and of the folders that are left in each of them.
        names, left = [], [_emptied(here)]
        while left[-1] or names:
            if left[-1]:
                names.append(left[-1].pop())
                os.chmod(names[-1], 0o700, dir_fd=here)
                here = _moved(here, names[-1])
                left.append(_emptied(here))
            else:
                left.pop()
                here = _moved(here, "..")
                os.rmdir(names.pop(), dir_fd=here)
    finally:
        os.close(here)
    os.rmdir(folder)


def _moved(here, name):
    """The folder of that name, opened in place of `here`."""
    there = os.open(name, _FOLDER, dir_fd=here)
    os.close(here)
    return there


def _emptied(here):
    """Unlink the files of an open folder; the names of the folders in it."""
    folders = []
    for entry in list(os.scandir(here)):
        if entry.is_dir(follow_symlinks=False):
            folders.append(entry.name)
        else:
            os.unlink(entry.name, dir_fd=here)
    return folders
