"""The base of all documents: frozen, and refusing unknown fields."""

from pydantic import BaseModel, ConfigDict


class Document(BaseModel):
    """A frozen pydantic model without extra fields."""

    model_config = ConfigDict(frozen=True, extra="forbid")
