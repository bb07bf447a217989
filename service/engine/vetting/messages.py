"""
The protobuf messages of ONNX, as far as a model here may use them.

The table is an allow-list: what it does not name (training, sparse tensors, sequences, devices)
becomes an unknown field, and is refused.  The bytes are parsed by protobuf, which ONNX Runtime
depends on; the ``onnx`` package would add 33 MB for the same.
"""

from collections.abc import Iterator
from typing import Any

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from google.protobuf.message import DecodeError
from google.protobuf.unknown_fields import UnknownFieldSet

from service.engine.errors import ModelRejected

# name, number and type of each field; a star: repeated; other messages are capitalised
TABLE = {
    "ModelProto": (
        "ir_version 1 int64, producer_name 2 string, producer_version 3 string, domain 4 string,"
        "model_version 5 int64, doc_string 6 string, graph 7 GraphProto,"
        "opset_import 8 OperatorSetIdProto*, metadata_props 14 StringStringEntryProto*,"
        "functions 25 FunctionProto*"
    ),
    "GraphProto": (
        "node 1 NodeProto*, name 2 string, initializer 5 TensorProto*, doc_string 10 string,"
        "input 11 ValueInfoProto*, output 12 ValueInfoProto*, value_info 13 ValueInfoProto*,"
        "metadata_props 16 StringStringEntryProto*"
    ),
    "FunctionProto": (
        "name 1 string, input 4 string*, output 5 string*, attribute 6 string*, node 7 NodeProto*,"
        "doc_string 8 string, opset_import 9 OperatorSetIdProto*, domain 10 string,"
        "attribute_proto 11 AttributeProto*, value_info 12 ValueInfoProto*, overload 13 string,"
        "metadata_props 14 StringStringEntryProto*"
    ),
    "NodeProto": (
        "input 1 string*, output 2 string*, name 3 string, op_type 4 string,"
        "attribute 5 AttributeProto*, doc_string 6 string, domain 7 string, overload 8 string,"
        "metadata_props 9 StringStringEntryProto*"
    ),
    "AttributeProto": (
        "name 1 string, f 2 float, i 3 int64, s 4 bytes, t 5 TensorProto, g 6 GraphProto,"
        "floats 7 float*, ints 8 int64*, strings 9 bytes*, tensors 10 TensorProto*,"
        "graphs 11 GraphProto*, doc_string 13 string, type 20 int32, ref_attr_name 21 string"
    ),
    "TensorProto": (
        "dims 1 int64*, data_type 2 int32, float_data 4 float*, int32_data 5 int32*,"
        "int64_data 7 int64*, name 8 string, raw_data 9 bytes, double_data 10 double*,"
        "doc_string 12 string, external_data 13 StringStringEntryProto*, data_location 14 int32,"
        "metadata_props 16 StringStringEntryProto*"
    ),
    "ValueInfoProto": (
        "name 1 string, type 2 TypeProto, doc_string 3 string,"
        "metadata_props 4 StringStringEntryProto*"
    ),
    "TypeProto": "tensor_type 1 TensorTypeProto, denotation 6 string",
    "TensorTypeProto": "elem_type 1 int32, shape 2 TensorShapeProto",
    "TensorShapeProto": "dim 1 DimensionProto*",
    "DimensionProto": "dim_value 1 int64, dim_param 2 string, denotation 3 string",
    "OperatorSetIdProto": "domain 1 string, version 2 int64",
    "StringStringEntryProto": "key 1 string, value 2 string",
}
_ONE_OF = {"DimensionProto": ("dim_value", "dim_param")}
_PACKAGE = "seqserve"


class NotWhole(ModelRejected):
    """The bytes are not a complete ONNX model."""


def parse(content: bytes) -> Any:  # noqa: ANN401  a ModelProto, made at run time
    """Parse a model; raise NotWhole."""
    try:
        return _MODEL.FromString(content)
    except DecodeError as exc:
        raise NotWhole("The file is no ONNX model, or not a whole one.") from exc


def strangers(message: Any) -> Iterator[str]:  # noqa: ANN401
    """Yield the fields of a message, at any depth, that the table does not name."""
    for field in UnknownFieldSet(message):
        yield f"{message.DESCRIPTOR.name} field {field.field_number}"
    for descriptor, value in message.ListFields():
        if descriptor.message_type is not None:
            for inner in value if descriptor.is_repeated else (value,):
                yield from strangers(inner)


def _model() -> Any:  # noqa: ANN401  the class of a ModelProto
    file = descriptor_pb2.FileDescriptorProto(
        name="seqserve/onnx.proto", package=_PACKAGE, syntax="proto3"
    )
    for name, fields in TABLE.items():
        message = file.message_type.add(name=name)
        if name in _ONE_OF:
            message.oneof_decl.add(name="value")
        for text in fields.split(","):
            _add(message, text.split(), one_of=_ONE_OF.get(name, ()))
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName(f"{_PACKAGE}.ModelProto"))


def _add(message: Any, words: list[str], one_of: tuple[str, ...]) -> None:  # noqa: ANN401
    name, number, kind = words
    plain, described = kind.rstrip("*"), descriptor_pb2.FieldDescriptorProto
    field = message.field.add(name=name, number=int(number), label=3 if kind != plain else 1)
    if plain in TABLE:
        field.type, field.type_name = described.TYPE_MESSAGE, f".{_PACKAGE}.{plain}"
    else:
        field.type = described.Type.Value(f"TYPE_{plain.upper()}")
    if name in one_of:
        field.oneof_index = 0


_MODEL = _model()
