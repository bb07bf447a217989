"""What every part of a card is: a frozen document that refuses fields it does not know."""

from pydantic import BaseModel, ConfigDict


class Document(BaseModel):
    """A part of a card."""

    model_config = ConfigDict(frozen=True, extra="forbid")
