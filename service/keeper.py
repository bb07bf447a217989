"""
A keeper: a process that shares a worker's open files, and answers its clients if it dies.

When a process dies the system closes its files, unless another process shares the file table.  A
keeper does: it is cloned before the worker has loaded anything, costs a connection nothing, and
knows of each one byte that the worker sets in shared memory.  This module imports little, since
the clone must come before there are threads.
"""

import ctypes
import mmap
import os
import platform
import select
import signal
import socket
import time

FILES = 2**16  # file descriptors that have a mark
# The marks.
NONE = 0  # no connection
OPEN = 1  # a connection without an unanswered request
RUNNING = 2  # a request has come, and nothing of its answer was sent
BEGUN = 3  # a part of an answer was sent

LINGER = 1.0  # seconds in which clients may finish sending
LATEST = 5  # seconds after which the system ends a keeper
NAME = b"keeper"  # of the process, in the system's list

_CLONE = {"x86_64": 56, "aarch64": 220}  # the system call's number
_CLONE_FILES, _CLONE_PARENT = 0x400, 0x8000
_PR_SET_PDEATHSIG, _PR_SET_NAME = 1, 15
_LENGTH = 2  # bytes of the length of the last words
_ROOM = 4096  # bytes of the last words, and of their length


class Marks:
    """Shared memory: a mark for each file, and the answer to requests of a dead worker."""

    def __init__(self) -> None:
        self.shared = mmap.mmap(-1, FILES + 1 + _ROOM)  # the last mark is that of all other files

    def place(self, file: int) -> int:
        """Return where the mark of a file is."""
        return min(file, FILES)

    def set_last_words(self, answer: bytes) -> None:
        """Set the answer that the keeper sends to unanswered requests; empty: none."""
        found = len(answer).to_bytes(_LENGTH) + answer
        self.shared[FILES + 1 : FILES + 1 + len(found)] = found

    def last_words(self) -> bytes:
        """Return the answer that was set last."""
        first = FILES + 1 + _LENGTH
        length = int.from_bytes(self.shared[FILES + 1 : first])
        return self.shared[first : first + length]


def die_with(supervisor: int) -> None:
    """Have the kernel kill this process when its parent dies, however it dies."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != supervisor:  # it has died already
        os._exit(0)


def keep(marks: Marks) -> int:
    """
    Clone a keeper; return its process id, or 0 on a system where that is not possible.

    It is a child of our parent, which must wait for it as for this process.
    """
    call = _CLONE.get(platform.machine())
    if call is None:
        return 0
    worker, supervisor = os.getpid(), os.getppid()
    flags = _CLONE_FILES | _CLONE_PARENT | signal.SIGCHLD
    number = int(ctypes.PyDLL(None).syscall(call, flags, 0, 0, 0, 0))
    if number:
        return max(number, 0)
    status = 1
    try:
        die_with(supervisor)
        ctypes.CDLL(None).prctl(_PR_SET_NAME, NAME)
        _outlive(worker)
        signal.alarm(LATEST)
        answer(marks)
        status = 0
    finally:
        os._exit(status)  # nothing of the worker's may be closed or flushed twice


def answer(marks: Marks) -> None:
    """Send the last words to every client with an unanswered request; close all connections."""
    words, waiting = marks.last_words(), []
    for file, mark in enumerate(marks.shared[:FILES]):
        if mark == NONE:
            continue
        try:
            connection = socket.socket(fileno=file)
        except OSError:
            continue
        if words and (mark == RUNNING or (mark == OPEN and _has_sent(connection))):
            waiting += _tell(connection, words)
        else:
            connection.close()
    _hear_out(waiting)


def _outlive(worker: int) -> None:
    """Wait until the worker has died."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    poll = select.poll()
    try:
        poll.register(os.pidfd_open(worker), select.POLLIN)
    except ProcessLookupError:
        return
    poll.poll()


def _has_sent(connection: socket.socket) -> bool:
    """Whether the client has sent something that the worker did not read."""
    try:
        return bool(connection.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT))
    except OSError:
        return False


def _tell(connection: socket.socket, words: bytes) -> list[socket.socket]:
    """Send the last words; return the connection unless that failed."""
    try:
        connection.send(words, socket.MSG_DONTWAIT)
        connection.shutdown(socket.SHUT_WR)
    except OSError:
        connection.close()
        return []
    return [connection]


def _hear_out(connections: list[socket.socket]) -> None:
    """Read until the clients close: unread bytes would reset the connection."""
    end, poll = time.monotonic() + LINGER, select.poll()
    left = {connection.fileno(): connection for connection in connections}
    for file in left:
        poll.register(file, select.POLLIN)
    while left and (rest := end - time.monotonic()) > 0:
        for file, _ in poll.poll(rest * 1000):
            try:
                if left[file].recv(2**16):
                    continue
            except OSError:
                pass
            poll.unregister(file)
            left.pop(file).close()
