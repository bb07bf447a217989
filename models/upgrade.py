"""Cards of earlier schema versions as today's: plain JSON in, plain JSON out."""

from collections.abc import Mapping
from typing import Any

from models.accuracy import SEASONAL_NAIVE


def upgraded(document: Mapping[str, Any]) -> dict[str, Any]:
    """
    Return a card of schema version 1 as one of version 2.

    Version 1 had seasonal naive's errors beside the model's.  What is no such card is left as
    it is, for validation to refuse.
    """
    card = {**document, "schema_version": 2}
    try:
        accuracy = document["accuracy"]
        targets = {name: _target(errors) for name, errors in accuracy["targets"].items()}
        ratios = [each["baselines"][SEASONAL_NAIVE]["mae_ratio"] for each in targets.values()]
        known = [ratio for ratio in ratios if ratio is not None]
        lost = bool(known) and sum(known) > len(known)
    except (AttributeError, KeyError, TypeError):
        return card
    loses_to = [SEASONAL_NAIVE] if lost else []
    return card | {"accuracy": {**accuracy, "targets": targets, "loses_to": loses_to}}


def _target(errors: Mapping[str, Any]) -> dict[str, Any]:
    kept = dict(errors)
    mae, rmse = kept.pop("seasonal_naive_mae"), kept.pop("seasonal_naive_rmse")
    ratio = kept["mae"] / mae if mae else None
    return kept | {"baselines": {SEASONAL_NAIVE: {"mae": mae, "rmse": rmse, "mae_ratio": ratio}}}
