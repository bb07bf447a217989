"""
Export a trained network to the ONNX file that serving reads, and check the file.

The check compares torch and ONNX Runtime on the same rows; a file that differs is never
published.  The file says nothing of the machine that exported it.
"""

import logging
from pathlib import Path
from typing import cast

import numpy as np
import onnx
import torch
from onnxscript import optimizer
from torch.export import Dim

from models.contract import SEQUENCES, ModelCard
from training.graph import Graph, Network, state_of
from training.networks import SHORTEST_TRACE
from training.parity import check_parity, draw_case
from training.quiet import quiet

_OPSET = {True: 20, False: 23}  # 23 has the native Attention op
_NO_LIMIT = 2**31  # of what constant folding may take in and give out, in elements
_TRACED = 1024  # steps at most of the rows that the exporter sees
_LOGGERS = ("torch", "torch.onnx", "onnxscript", "onnx_ir")


def write_model(network: Network, card: ModelCard, path: Path) -> ModelCard:
    """
    Export a network, check parity, write the card; return the card as it is in the file.

    What only the graph knows is set here: ``attention``, ``exact``, ``state``, and the parity
    error of the provenance.  Raise ParityError.
    """
    of_graph = {"attention": network.attends, "exact": network.exact}
    card = card.model_copy(update=of_graph | {"state": state_of(network)})
    export(network, card, path)
    error = check_parity(network, path, card)
    if card.provenance is None:
        return card
    provenance = card.provenance.model_copy(update={"parity_error": error})
    card = card.model_copy(update={"provenance": provenance})
    _save(onnx.load(path), card, path)
    return card


def export(network: Network, card: ModelCard, path: Path) -> None:
    """Write the network as ONNX under the names of the contract, with the card inside."""
    graph = Graph(network, card)
    # Long rows: torch would take a number of segments or blocks that is 1 for a constant.
    time = max(SHORTEST_TRACE, min(card.max_length, _TRACED))
    case = draw_case(np.random.default_rng(0), network, card, (3, time))
    batch = {0: Dim.DYNAMIC}
    shapes = {name: batch | {1: Dim.DYNAMIC} if name == SEQUENCES else batch for name in case}
    with quiet(_LOGGERS, logging.ERROR, [""]), torch.no_grad():
        program = torch.onnx.export(
            graph,
            graph.arguments(case),
            dynamo=True,
            opset_version=_OPSET[network.exact],
            verbose=False,
            input_names=graph.inputs,
            output_names=graph.outputs,
            dynamic_shapes={"inputs": tuple(shapes[name] for name in graph.inputs)},
        )
        model = cast("torch.onnx.ONNXProgram", program).model
        # Fold the reordering of the gates into the weights, whatever their size.
        optimizer.optimize_ir(model, input_size_limit=_NO_LIMIT, output_size_limit=_NO_LIMIT)
    _save(cast("torch.onnx.ONNXProgram", program).model_proto, card, path)


def _save(model: onnx.ModelProto, card: ModelCard, path: Path) -> None:
    """Write graph and card, without what would tell of the exporting machine."""
    read = {name for node in model.graph.node for name in node.input}
    for node in model.graph.node:
        if node.op_type in ("LSTM", "GRU") and node.output[0] not in read:
            node.output[0] = ""  # the states of all steps, which nobody reads
        del node.metadata_props[:]
        node.ClearField("doc_string")
    for value in (*model.graph.input, *model.graph.output, *model.graph.initializer):
        del value.metadata_props[:]
        value.ClearField("doc_string")
    del model.graph.value_info[:]
    del model.graph.metadata_props[:]
    model.graph.ClearField("doc_string")
    model.ClearField("doc_string")
    onnx.helper.set_model_props(model, card.to_metadata())
    path.write_bytes(model.SerializeToString())
