"""What a classifier answers in JSON: a label and the probability of each class; reads nothing."""

import numpy as np
from pydantic import Field

from models.contract import ModelCard
from service.engine.jobs import Answer
from service.http.errors import InvalidRequest
from service.http.schemas.plain import SeriesRequest
from service.http.schemas.wire import WireModel


class ClassOut(WireModel):
    """The class of one sequence, and how probable each is; the probabilities sum to one."""

    label: str = Field(description="the most probable class")
    probabilities: dict[str, float]
    id: str | None = None
    attention: list[float] | None = None


def refuse_forecast_words(asked: SeriesRequest) -> None:
    """Raise InvalidRequest for what only a forecaster can answer."""
    if asked.quantiles is not None:
        raise InvalidRequest("quantiles", "this model classifies, it forecasts no quantiles")
    for index, series in enumerate(asked.series):
        if series.start is not None:
            problem = "this model classifies, its answers have no timestamps"
            raise InvalidRequest(f"sequences[{index}].start", problem)


def class_prediction(label: str | None, answer: Answer, card: ModelCard) -> dict[str, object]:
    """Return one answer, ready for orjson; of equal probabilities the first class is the label."""
    probabilities = answer.predictions  # (classes,)
    out: dict[str, object] = {"id": label} if label is not None else {}
    out["label"] = card.classes[int(probabilities.argmax())]
    out["probabilities"] = dict(zip(card.classes, probabilities, strict=True))
    if answer.attention is not None:
        out["attention"] = np.ascontiguousarray(answer.attention)
    return out
