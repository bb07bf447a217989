"""How the allocator of C gives memory back: once per process, before anything large is made."""

import ctypes

M_MMAP_THRESHOLD = -3  # of malloc.h
LARGE = 2**20  # bytes


def give_back_large_blocks() -> bool:
    """
    Have glibc return every block of a megabyte or more to the system when it is freed.

    Left to itself it raises that bound to 32 MB with the first such block, and a request of
    12 MB leaves 90 MB behind.  Returns whether there is a glibc to tell.
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError):  # another C library
        return False
    return bool(mallopt(M_MMAP_THRESHOLD, LARGE))
