"""The places between accepting a step and answering it, in their order; names alone."""

from typing import Literal, get_args

Point = Literal[
    "received",  # the request, or the message, was read to its end
    "read",  # the sessions were read from the store
    "computed",  # the batch has run, nothing was given to the store
    "writing",  # somewhere in the store's transaction
    "written",  # the store has committed, nobody was told
    "answering",  # the head of the answer may have left, its body has not
    "answered",  # the answer was given to the socket
]
POINTS: tuple[Point, ...] = get_args(Point)

POINT, PASSES = "CRASH_POINT", "CRASH_PASSES"  # in the environment of ``service``
