"""Files that lie in memory alone, for libraries that want a path: decrypted ones never touch the disk.

Such a file has no name; as long as its descriptor is open, this process can open it as `/proc/self/fd/N`. Its bytes
count as the process's memory (shared memory, in the system's words). Unlike secret_memory.py's they can get into swap.
"""

from __future__ import annotations

import ctypes
import errno
import os
import platform

from pocketseek.errors import MemoryLimitError, UnsupportedError

_CLOSE_ON_EXEC = 1  # MFD_CLOEXEC
_NUMBERS = {"x86_64": 319, "aarch64": 279, "armv7l": 385, "armv8l": 385, "riscv64": 279}  # of the system call
_MISSING = frozenset({errno.ENOSYS, errno.EPERM, errno.EACCES})
_FULL = frozenset({errno.ENOMEM, errno.EMFILE, errno.ENFILE})


def memory_file(name: str) -> int:
    """A descriptor for reading and writing; the caller closes it. name: for whoever lists the process's files.

    Raises UnsupportedError where the system has no such files, MemoryLimitError.
    """
    try:
        return os.memfd_create(name, _CLOSE_ON_EXEC) if hasattr(os, "memfd_create") else _by_number(name)
    except OSError as error:
        if error.errno in _FULL:
            raise MemoryLimitError(
                f"the system gives no memory for {name} ({error.strerror}); close other programs"
            ) from error
        if error.errno not in _MISSING:
            raise
        raise UnsupportedError(
            f"this system has no files in memory, so a sealed speech part cannot be used; unseal it ({error.strerror})"
        ) from error


def path_of(descriptor: int) -> str:
    """By which this process, and no other, can open it."""
    return f"/proc/self/fd/{descriptor}"


def _by_number(name: str) -> int:
    """Python for Android is built without it; the kernels there have it."""
    number = _NUMBERS.get(platform.machine())
    if number is None:
        raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS))
    library = ctypes.CDLL(None, use_errno=True)
    descriptor = int(library.syscall(ctypes.c_long(number), name.encode(), ctypes.c_uint(_CLOSE_ON_EXEC)))
    if descriptor < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    return descriptor
