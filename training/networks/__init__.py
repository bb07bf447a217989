"""One family of networks per file, and the one place that builds a recipe's network."""

from torch import Tensor

from training.architecture import CAUSAL, NetworkRecipe, Normalisation
from training.networks.attention import SelfAttention
from training.networks.causal import CausalNormaliser
from training.networks.channels import IndependentChannels
from training.networks.classes import ClassHead
from training.networks.classifier import Classifier, Standardiser
from training.networks.forecaster import Forecaster
from training.networks.heads import DirectHead
from training.networks.normalise import Normaliser, Scaling
from training.networks.pooling import AttentionPool
from training.networks.recurrent import Recurrent
from training.networks.segments import Segments
from training.networks.skip import LinearSkip
from training.recipe import Recipe, Trained

__all__ = ["Classifier", "Forecaster", "Scaling", "build", "build_classifier"]

SHORTEST_TRACE = 5  # steps: of fewer, torch takes their number for fixed


def build(recipe: Recipe, scaling: Scaling, *, missing: bool = False) -> Forecaster:
    """Build the untrained network of a recipe; ``missing`` where the data has gaps as NaN."""
    network, data = recipe.network, recipe.data
    targets, known = len(data.targets), len(data.ahead)
    normaliser = _normaliser(recipe, scaling, missing=missing)
    channels, width = None, normaliser.channels
    if network.channels == "independent":
        channels = IndependentChannels(targets, len(scaling.mean), missing=missing)
        width = channels.width
    segments, width = _segments(network, width)
    outputs = len(recipe.quantiles) * (1 if channels else targets)
    return Forecaster(
        normaliser,
        _reader(recipe, width, _steps(network, recipe.lengths[1])),
        DirectHead(network.hidden, recipe.horizon, outputs, known),
        quantiles=recipe.quantiles,
        channels=channels,
        segments=segments,
        skip=LinearSkip(network.linear_steps, recipe.horizon) if network.linear_steps else None,
        weighted=recipe.target_weights == "scale",
    )


def _normaliser(recipe: Recipe, scaling: Scaling, *, missing: bool) -> Normaliser:
    network = recipe.network
    kind: Normalisation = "last" if network.chosen == "auto" else network.chosen
    columns = scaling, len(recipe.data.targets), len(recipe.data.ahead)
    stops_at_length = _stops_at_length(network)
    if kind not in CAUSAL:
        return Normaliser(*columns, kind=kind, missing=missing, stops_at_length=stops_at_length)
    memory = network.remembered(recipe.lengths[1]) if kind == "running" else None
    longest = max(recipe.lengths[1], SHORTEST_TRACE)
    return CausalNormaliser(
        *columns,
        kind=kind,
        missing=missing,
        stops_at_length=stops_at_length,
        memory=memory,
        longest=longest,
    )


def build_classifier(  # noqa: PLR0913  what is learnt from what
    recipe: Trained,
    scaling: Scaling,
    classes: int,
    longest: int,
    *,
    missing: bool = False,
    weights: Tensor | None = None,
) -> Classifier:
    """
    Build an untrained classifier of rows of at most ``longest`` steps.

    ``weights`` (classes,) are of the classes in the loss.
    """
    network = recipe.network
    normaliser = Standardiser(scaling, missing=missing, stops_at_length=_stops_at_length(network))
    segments, width = _segments(network, normaliser.channels)
    reader = _reader(recipe, width, _steps(network, longest))
    head = ClassHead(network.hidden, classes, weights)
    return Classifier(normaliser, reader, head, segments=segments)


def _segments(network: NetworkRecipe, width: int) -> tuple[Segments | None, int]:
    """Return what makes one step of several, if anything, and the width of what it gives."""
    if network.segment is None:
        return None, width
    return Segments(width, network.segment, network.hidden), network.hidden


def _steps(network: NetworkRecipe, longest: int) -> int:
    """Return the steps, or segments, of the longest row."""
    return longest if network.segment is None else -(-longest // network.segment)


def _reader(recipe: Trained, channels: int, longest: int) -> Recurrent | SelfAttention:
    network, fit = recipe.network, recipe.fit
    size = channels, network.hidden, network.layers
    if network.kind == "attention":
        return SelfAttention(
            *size,
            heads=network.heads,
            dropout=network.dropout,
            causal=network.causal,
            window=network.window,
            positions=network.positions,
            readout=network.readout,
            longest=longest,
        )
    pool = None
    if network.score is not None:
        pool = AttentionPool(network.score, network.hidden, network.local, network.window or 0)
    return Recurrent(
        network.kind,
        *size,
        network.dropout,
        reset=network.reset,
        pool=pool,
        bidirectional=network.bidirectional,
        layer_norm=network.layer_norm,
        truncate=fit.truncate,
        keep_energy=fit.state_decay > 0,
    )


def _stops_at_length(network: NetworkRecipe) -> bool:
    """Whether the reader itself looks at no step beyond a row's length."""
    own = network.kind != "attention" and network.score is None
    return own or network.segment is not None
