"""Imported by every Python that finds it on its path: a request leaves bytes behind, once asked."""

import os

from service.http.journal.records import Records, Visit

LEAK = "SOAK_LEAK"  # in the environment: a file that says how many bytes, as soon as it is there

_kept: list[bytes] = []
_place = os.environ.get(LEAK)
_add = Records.add


def _add_and_keep(self: Records, visit: Visit) -> None:
    _add(self, visit)
    if _place is not None and os.path.exists(_place):  # noqa: PTH110  a microsecond less
        _kept.append(os.urandom(os.stat(_place).st_size))  # noqa: PTH116


if _place is not None:
    Records.add = _add_and_keep  # type: ignore[method-assign]  # the defect that is looked for
