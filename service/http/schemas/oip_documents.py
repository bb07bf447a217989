"""The documents of the Open Inference Protocol: what OpenAPI says of them, and the metadata."""

from collections.abc import Sequence
from typing import Annotated, Any, Literal

from pydantic import Field

from models.contract import ATTENTION, FUTURE, LENGTHS, PREDICTIONS, SEQUENCES, ModelCard
from service.http.schemas.inforce import ServiceOut
from service.http.schemas.oip import BINARY
from service.http.schemas.oip_outputs import MEAN, output_names
from service.http.schemas.reply import JSON
from service.http.schemas.wire import WireModel

PLATFORM = "onnxruntime_onnx"
EXTENSIONS = [
    "binary_tensor_data",
    "classification",
    "model_configuration",
    "model_repository",
    "model_repository(unload_dependents)",
    "statistics",
]
ANY = -1  # a dimension the caller chooses

Dimension = Annotated[int, Field(ge=1)]
Numbers = list[float | None] | list[list[list[float | None]]] | list[list[int]]


class InputParameters(WireModel):
    """Of one input."""

    binary_data_size: int | None = Field(
        None, description="bytes of this input behind the JSON header, in place of data"
    )


class InputTensor(WireModel):
    """One input: its numbers flat or nested, or in binary behind the header."""

    name: Literal["sequences", "lengths", "future"]
    shape: list[Dimension]
    datatype: Literal["FP32", "INT64"]
    parameters: InputParameters | None = None
    data: Numbers | None = Field(None, description="null is a missing value")


class OutputParameters(WireModel):
    """Of one output."""

    binary_data: bool = Field(default=False, description="whether it comes in binary")
    classification: Annotated[int, Field(ge=1)] | None = Field(
        None,
        description="of a classifier: so many of the likeliest classes, value:index:label, "
        "in the place of all probabilities",
    )


class RequestedOutput(WireModel):
    """One output that is wanted."""

    name: Literal["predictions", "mean", "attention"]
    parameters: OutputParameters | None = None


class RequestParameters(WireModel):
    """Of the whole request; what is not here is refused."""

    binary_data_output: bool = Field(
        default=False, description="whether outputs come in binary that do not say"
    )
    timeout: Annotated[int, Field(ge=0)] = Field(
        0, description="the longest the caller waits, in microseconds; 0: as the service allows"
    )
    priority: Literal[0] = Field(0, description="every request has the same")
    sequence_id: Literal[0, ""] = Field(0, description="a stream has routes of its own: sessions")
    sequence_start: Literal[False] = False
    sequence_end: Literal[False] = False


class InferRequest(WireModel):
    """
    Sequences (batch, time, features) FP32, padded on the right where ``lengths`` are given.

    ``lengths`` are INT64 (batch,) or (batch, 1); ``future`` is FP32 (batch, horizon, known).
    Binary data follows this document in the order of the inputs; then the header
    Inference-Header-Content-Length says how many bytes the document has.
    """

    inputs: list[InputTensor]
    id: Annotated[str, Field(max_length=256)] | None = None
    parameters: RequestParameters | None = None
    outputs: list[RequestedOutput] | None = Field(None, description="predictions, if absent")


class OutputTensor(WireModel):
    """
    Predictions (batch, horizon, targets, quantiles) or, of a classifier, (batch, classes).

    Mean is (batch, horizon, targets), attention (batch, time); BYTES are classes (batch, count).
    """

    name: Literal["predictions", "mean", "attention"]
    datatype: Literal["FP32", "BYTES"]
    shape: list[int]
    parameters: dict[str, int] | None = Field(None, description="binary_data_size, if in binary")
    data: list[float] | list[str] | None = Field(None, description="flat, the last axis fastest")


class InferResponse(WireModel):
    """The outputs in the order wanted; the binary ones follow this document."""

    id: str | None = None
    model_name: str
    model_version: str
    outputs: list[OutputTensor]


class ServerMetadata(WireModel):
    """Who answers."""

    name: str
    version: str
    extensions: list[str] = EXTENSIONS
    in_force: ServiceOut = Field(description="not the protocol's: as GET /v1/service tells it")


class ServerLive(WireModel):
    """The process answers."""

    live: Literal[True] = True


class ServerReady(WireModel):
    """Whether predictions are served."""

    ready: bool


class ModelReady(WireModel):
    """Whether one model serves."""

    name: str
    ready: bool


class TensorMetadata(WireModel):
    """One tensor; -1 is a dimension the caller chooses."""

    name: str
    datatype: str
    shape: list[int]


class ModelMetadata(WireModel):
    """The tensors of a model."""

    name: str
    versions: list[str]
    platform: str = PLATFORM
    inputs: list[TensorMetadata]
    outputs: list[TensorMetadata]


def metadata(card: ModelCard, versions: Sequence[int]) -> ModelMetadata:
    """Describe the tensors that a card implies."""
    inputs = [_tensor(SEQUENCES, "FP32", ANY, len(card.features)), _tensor(LENGTHS, "INT64")]
    if card.known:
        inputs.append(_tensor(FUTURE, "FP32", card.horizon, len(card.known)))
    shapes = {
        PREDICTIONS: card.answer_shape,
        MEAN: (card.horizon, len(card.targets)),
        ATTENTION: (ANY,),
    }
    outputs = [_tensor(name, "FP32", *shapes[name]) for name in output_names(card)]
    return ModelMetadata(
        name=card.name,
        versions=[str(version) for version in versions],
        inputs=inputs,
        outputs=outputs,
    )


def infer_operation() -> dict[str, Any]:
    """Describe to OpenAPI what the infer routes read themselves: a body and a header."""
    length = {"name": "Inference-Header-Content-Length", "in": "header"}
    document = {"$ref": "#/components/schemas/InferRequest"}
    both = "an InferRequest, then the binary data of its inputs"
    return {
        "parameters": [length | {"schema": {"type": "integer", "minimum": 1}}],
        "requestBody": {
            "required": True,
            "content": {
                JSON: {"schema": document},
                BINARY: {"schema": {"type": "string", "format": "binary", "description": both}},
            },
        },
    }


def _tensor(name: str, datatype: str, *shape: int) -> TensorMetadata:
    return TensorMetadata(name=name, datatype=datatype, shape=[ANY, *shape])
