"""The result of vetting one file: cached, and shown by the API and by ``seqserve check``."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Self

from service.engine.selfcheck import SelfCheck


@dataclass(frozen=True, slots=True)
class Measured:
    """Times and memory of a file, measured in a process of its own on the CPU."""

    load_seconds: float
    run_seconds: float  # of one sequence of the greatest length, after a first run
    batch_size: int  # sequences of that length in the largest batch there may be
    batch_seconds: float  # of one run of it
    memory_bytes: int  # at the peak, beyond those of the empty process


@dataclass(frozen=True, slots=True)
class Report:
    """The verdict on a file's bytes; it passed if nothing was found."""

    sha256: str
    size: int  # bytes
    findings: tuple[str, ...]
    seconds: float  # of the whole check
    self_check: SelfCheck | None = None
    measured: Measured | None = None
    transient: bool = False  # whether the cause may be the machine and not the file

    @property
    def passed(self) -> bool:
        """Whether the file may serve."""
        return not self.findings

    @property
    def reason(self) -> str:
        """All findings, as one text."""
        return " ".join(self.findings)

    def document(self) -> dict[str, Any]:
        """Return the report for JSON."""
        return asdict(self)

    @classmethod
    def of(cls, document: Mapping[str, Any]) -> Self:
        """Return the report of a ``document``; raise ValueError, KeyError or TypeError."""
        fields = dict(document)
        found, measured = fields.pop("self_check"), fields.pop("measured")
        return cls(
            **fields | {"findings": tuple(map(str, fields["findings"]))},
            self_check=SelfCheck(**found) if found else None,
            measured=Measured(**measured) if measured else None,
        )
