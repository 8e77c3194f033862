"""The folder of the file.

Law: a folder that was made for the file outlives a power loss, and so does its name in the folder above. SQLite syncs
the folder in which its files are, and none above it.
"""

import os
from pathlib import Path


def make_folder(folder: Path) -> None:
    """Make `folder` and those above it where they are missing, and see that their names are on the disk."""
    missing = [one for one in (folder, *folder.parents) if not one.exists()]
    folder.mkdir(parents=True, exist_ok=True)
    # Also when it was there: whoever made it may have been cut off before this.
    for one in missing or [folder]:
        _sync(one.parent)


def _sync(folder: Path) -> None:
    try:
        opened = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except PermissionError:
        return  # one that we may not read is not one in which we made something
    try:
        os.fsync(opened)
    finally:
        os.close(opened)
