"""A model's configuration as Triton's clients read it: what of it is true here."""

from typing import Any

from pydantic import Field

from models.contract import LENGTHS, ModelCard
from service.http.schemas.oip_documents import PLATFORM, TensorMetadata, metadata
from service.http.schemas.wire import Out


class ConfigTensor(Out):
    """One tensor; its dims leave the batch out, and -1 is one that the caller chooses."""

    name: str
    data_type: str
    dims: list[int]
    optional: bool = False


class ConfigParameter(Out):
    """One value."""

    string_value: str


class Batching(Out):
    """Requests share batches, which needs no setting."""


class ModelConfig(Out):
    """The configuration of a model; ``parameters`` are what its card says of its answers."""

    name: str
    platform: str = PLATFORM
    backend: str = "onnxruntime"
    max_batch_size: int = Field(description="sequences that one request may hold")
    input: list[ConfigTensor]
    output: list[ConfigTensor]
    dynamic_batching: Batching = Batching()
    parameters: dict[str, ConfigParameter]


def model_config(card: ModelCard, max_sequences: int) -> ModelConfig:
    """Describe a model from its card."""
    tensors = metadata(card, [])
    return ModelConfig(
        name=card.name,
        max_batch_size=max_sequences,
        input=[_tensor(tensor) for tensor in tensors.inputs],
        output=[_tensor(tensor) for tensor in tensors.outputs],
        parameters={
            name: ConfigParameter(string_value=value) for name, value in _facts(card).items()
        },
    )


def _facts(card: ModelCard) -> dict[str, str]:
    facts: dict[str, Any] = {
        "task": card.task.value,
        "features": card.features,
        "targets": card.targets,
        "quantiles": card.quantiles,
        "frequency": card.frequency,
        "classes": card.classes,
        "min_length": (card.min_length,),
        "max_length": (card.max_length,),
    }
    return {
        name: value if isinstance(value, str) else ",".join(map(str, value))
        for name, value in facts.items()
        if value
    }


def _tensor(tensor: TensorMetadata) -> ConfigTensor:
    return ConfigTensor(
        name=tensor.name,
        data_type=f"TYPE_{tensor.datatype}",
        dims=tensor.shape[1:] or [1],
        optional=tensor.name == LENGTHS,
    )
