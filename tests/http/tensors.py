"""Infer requests written, and their answers read, by the letter of the protocol."""

import json

import numpy as np

HEADER = "inference-header-content-length"
TYPES = {"FP32": "<f4", "INT64": "<i8"}


def tensor(name, values, datatype="FP32"):
    """Return one input with its numbers in JSON, nested; NaN as null."""
    values = np.asarray(values, TYPES[datatype])
    data = np.where(np.isnan(values), None, values.astype(object)).tolist()
    return {"name": name, "shape": list(values.shape), "datatype": datatype, "data": data}


def flat(entry):
    """Return the same input with its numbers flat."""
    data = np.array(entry["data"], object).reshape(-1).tolist()
    return entry | {"data": data}


def lengths(*values):
    return tensor("lengths", values, "INT64")


def binary(*entries, **top):
    """Return a body with every input in binary, and the headers to send it with."""
    inputs, parts = [], []
    for entry in entries:
        values = np.array(entry["data"], TYPES[entry["datatype"]])
        parts.append(values.tobytes())
        rest = {key: value for key, value in entry.items() if key != "data"}
        inputs.append(rest | {"parameters": {"binary_data_size": values.nbytes}})
    return framed({"inputs": inputs} | top, b"".join(parts))


def framed(document, data):
    """Return a document followed by binary data, and the headers to send it with."""
    header = json.dumps(document).encode()
    headers = {"content-type": "application/octet-stream", HEADER: str(len(header))}
    return header + data, headers


def read(answer):
    """Return the document and the outputs of an answer, each an array of its shape."""
    assert answer.status_code == 200, answer.text
    length = answer.headers.get(HEADER)
    kind = "application/json" if length is None else "application/octet-stream"
    assert answer.headers["content-type"] == kind
    size = len(answer.content) if length is None else int(length)
    document, rest = json.loads(answer.content[:size]), answer.content[size:]
    arrays = {}
    for output in document["outputs"]:
        count = output.get("parameters", {}).get("binary_data_size")
        if count is None:
            values = np.array(output["data"], "<f4")
        else:
            values, rest = np.frombuffer(rest[:count], "<f4"), rest[count:]
        arrays[output["name"]] = values.reshape(output["shape"])
    assert rest == b""
    return document, arrays
