"""The entry point of a worker's process: it clones its keeper before anything starts threads."""

import sys

from service.keeper import Marks, die_with, keep


def main() -> None:
    """Serve for a supervisor: the arguments are our end of its channel, and its number."""
    channel, supervisor = map(int, sys.argv[1:])
    die_with(supervisor)
    marks = Marks()
    keeper = keep(marks)
    from service.worker import work  # noqa: PLC0415  loads all that serves

    sys.exit(work(channel, keeper, marks))


if __name__ == "__main__":
    main()
