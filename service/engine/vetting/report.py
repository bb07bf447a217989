"""What was found of one file: kept in the cache, shown by the API and the command."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Self

from service.engine.selfcheck import SelfCheck


@dataclass(frozen=True, slots=True)
class Measured:
    """What a file cost to try, in a process of its own on the CPU."""

    load_seconds: float
    run_seconds: float  # of one sequence as long as the card allows, not the first
    batch_size: int  # sequences of that length in the largest batch there may be
    batch_seconds: float  # of one run of it
    memory_bytes: int  # at the peak, beyond what the empty process had


@dataclass(frozen=True, slots=True)
class Report:
    """The verdict on a file's bytes; it passed if nothing was found."""

    sha256: str
    size: int  # bytes
    findings: tuple[str, ...]
    seconds: float  # all of the check
    self_check: SelfCheck | None = None
    measured: Measured | None = None
    transient: bool = False  # whether the machine may be to blame

    @property
    def passed(self) -> bool:
        """Whether the file may serve."""
        return not self.findings

    @property
    def reason(self) -> str:
        """All findings, as one text."""
        return " ".join(self.findings)

    def document(self) -> dict[str, Any]:
        """Return the report as JSON would have it."""
        return asdict(self)

    @classmethod
    def of(cls, document: Mapping[str, Any]) -> Self:
        """Read back what ``document`` wrote; raise ValueError, KeyError or TypeError."""
        fields = dict(document)
        found, measured = fields.pop("self_check"), fields.pop("measured")
        return cls(
            **fields | {"findings": tuple(map(str, fields["findings"]))},
            self_check=SelfCheck(**found) if found else None,
            measured=Measured(**measured) if measured else None,
        )
