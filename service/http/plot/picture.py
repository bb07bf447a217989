"""A card's accuracy as an image: what a browser is told about it."""

from typing import Self

from fastapi import Response

from models.accuracy import Accuracy
from models.contract import Task
from service.engine.core import LoadedModel
from service.http.errors import NotAForecaster, NotMeasured
from service.http.plot.accuracy import draw

# Whatever a card says, its picture loads nothing and runs nothing.
HEADERS = {
    "content-security-policy": "default-src 'none'; style-src 'unsafe-inline'",
    "x-content-type-options": "nosniff",
}


class Picture(Response):
    """An SVG document."""

    media_type = "image/svg+xml"

    @classmethod
    def of(cls, model: LoadedModel) -> Self:
        """Return the picture of a model; raise NotAForecaster or NotMeasured."""
        if model.card.task is Task.CLASSIFY:
            raise NotAForecaster(model.entry.name)
        if not isinstance(model.card.accuracy, Accuracy):
            raise NotMeasured(model.entry.name)
        content = draw(model.card, model.card.accuracy, model.entry.version)
        return cls(content, headers=HEADERS)
