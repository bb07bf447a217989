"""The documents of KServe's time-series forecast API: what is asked for, and what is answered."""

from typing import Annotated, Any, Literal

from pydantic import Field

from service.http.schemas.native import Numbers, Wanted
from service.http.schemas.wire import Out, WireModel

UNIVARIATE, MULTIVARIATE = "univariate_time_series", "multivariate_time_series"
Kind = Literal["univariate_time_series", "multivariate_time_series"]
Name = Annotated[str, Field(max_length=256)]
Word = Annotated[str, Field(max_length=64)]
Forecast = list[float] | list[list[float]]


class Item(WireModel):
    """A series, with the numbers left to ``arrays``, which reads them far faster."""

    type: Kind = Field(description="univariate: (time,) numbers; multivariate: (time, features)")
    name: Name
    series: Any
    frequency: Word = Field(
        description="second, minute, hour, day, week, month, quarter, year or S, T, H, D, W, M, Q, "
        "Y, with a count before it where it is not 1, or as the card has it; it must be the card's"
    )
    start_timestamp: Word | None = Field(
        None, description="ISO 8601 time of the first step; needed where the card has calendar"
    )
    future: Any = None
    static: Any = None


class TimeSeriesInput(Item):
    """One series up to now."""

    series: Numbers = Field(
        description="the columns the card calls features, without those of static and calendar, "
        "which are added here; null is a missing value, where the card allows it"
    )
    future: Numbers | None = Field(
        None,
        description="not KServe's: (horizon of the card, known), the covariates known ahead, "
        "without the calendar's",
    )
    static: dict[str, float | str] | None = Field(
        None, description="not KServe's: a value for each name in the card's static"
    )


class ForecastOptions(WireModel):
    """What to forecast."""

    horizon: Annotated[int, Field(ge=1)] = Field(description="steps; at most the card's horizon")
    quantiles: Wanted | None = Field(None, description="some of the card's levels; none if absent")


class Envelope(WireModel):
    """A request, with each input left to be read by itself."""

    model: str
    inputs: list[Any]
    options: ForecastOptions
    metadata: dict[str, Any] | None = Field(None, description="the caller's own; not read")
    model_version: Word | None = Field(
        None, description="not KServe's: a version's number or alias, in the place of the traffic's"
    )


class ForecastRequest(Envelope):
    """Any number of series, of any mix of lengths, for one model."""

    inputs: list[TimeSeriesInput]


class ForecastError(Out):
    """Why one series has no forecast."""

    code: str = Field(description="the status that the series would have had alone")
    message: str
    param: str = Field(description="the place in the request")
    type: str


class TimeSeriesForecast(Out):
    """The forecast of one series; it is univariate where the model has one target."""

    type: Kind
    name: str
    mean_forecast: Forecast
    frequency: str = Field(description="as it was sent")
    start_timestamp: str | None = Field(description="of the first step; null if none was sent")
    quantiles: dict[str, Forecast] | None = None


class ForecastOutput(Out):
    """What became of one input, in the order sent."""

    type: Literal["time_series_forecast"] = "time_series_forecast"
    id: str
    status: Literal["completed", "error"]
    content: list[TimeSeriesForecast]
    error: ForecastError | None


class Usage(Out):
    """Of the series that were forecast; a token is one step of time."""

    prompt_tokens: int
    completion_tokens: int
    total_tokens: int


class ForecastResponse(Out):
    """One output per input; partial where some could be forecast and some could not."""

    id: str
    created_at: int
    status: Literal["completed", "partial"]
    error: None = None
    model: str
    model_version: str = Field(description="not KServe's")
    outputs: list[ForecastOutput]
    usage: Usage
