"""What the system keeps of files in memory for the next reader (the page cache), and how to have it forget them.

No rights are needed for files that one may read. Pages that a process has mapped and uses stay. Where the system has no
posix_fadvise nothing happens.
"""

from __future__ import annotations

import os
from pathlib import Path


def drop_cached_pages(path: Path) -> bool:
    """Of a file, or of all files in a folder. False if this system cannot be asked to."""
    if not hasattr(os, "posix_fadvise"):
        return False
    files = [path] if path.is_file() else [file for file in path.rglob("*") if file.is_file()]
    for file in files:
        descriptor = os.open(file, os.O_RDONLY | os.O_CLOEXEC)
        try:
            os.fsync(descriptor)  # pages that are not on disk yet cannot go
            os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
        finally:
            os.close(descriptor)
    return True
