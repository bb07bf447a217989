"""What a store keeps of a session; the stream, request and answer are opaque bytes to it."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Record:
    """One session after its last acknowledged step."""

    id: str
    tenant: str
    model: str
    version: int
    model_hash: str  # SHA-256 of the model's file, hexadecimal
    step: int  # acknowledged steps; 0: opened, none taken
    state: bytes  # the stream, as ``codec`` writes it
    request: bytes  # the digest of the last step's payload; empty before the first
    answer: bytes  # the body that answered the last step; empty before the first
    created: float  # seconds since 1970, as the next two
    touched: float  # when the last step was taken
    expires: float  # when it expires unless a step is taken before

    @property
    def size(self) -> int:
        """The bytes that count against the limits."""
        return len(self.state) + len(self.answer)


@dataclass(frozen=True, slots=True)
class Gone:
    """A tombstone: kept for a while of a session that was closed or has expired."""

    tenant: str


Found = Record | Gone | None  # None: unknown, or forgotten by now
