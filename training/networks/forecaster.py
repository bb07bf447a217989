"""A forecaster, from inputs to quantiles in the data's units; no training, no files."""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from training.networks.attention import SelfAttention
from training.networks.causal import Carried, CausalNormaliser
from training.networks.channels import IndependentChannels
from training.networks.heads import DirectHead, Quantiles, pinball
from training.networks.normalise import OWN_UNITS, Normalised, Normaliser
from training.networks.recurrent import Recurrent
from training.networks.segments import Segments
from training.networks.skip import LinearSkip


class Forecaster(nn.Module):
    """
    Normalise, encode, predict every step and quantile at once, and undo the normalisation.

    The optional parts: ``channels`` gives each target a row of its own, ``segments`` joins several
    steps into one, ``skip`` adds a linear map of the last steps.  ``weighted`` weighs targets in
    the loss by their scale over the mean scale.
    """

    levels: Tensor

    def __init__(  # noqa: PLR0913  a part each
        self,
        normaliser: Normaliser,
        reader: Recurrent | SelfAttention,
        head: DirectHead,
        *,
        quantiles: Sequence[float],
        channels: IndependentChannels | None = None,
        segments: Segments | None = None,
        skip: LinearSkip | None = None,
        weighted: bool = False,
    ) -> None:
        super().__init__()
        self.normaliser = normaliser
        self.channels = channels
        self.segments = segments
        self.reader = reader
        self.head = head
        self.quantiles = Quantiles(quantiles, normaliser.targets)
        self.skip = skip
        self.weighted = weighted
        self.register_buffer("levels", torch.tensor(quantiles, dtype=torch.float32))

    @property
    def attends(self) -> bool:
        """Whether the answer comes with attention weights."""
        return self.reader.attends

    @property
    def exact(self) -> bool:
        """Whether the exported file answers a row on CPU alike, bit for bit, in any batch."""
        return self.reader.exact

    @property
    def target_scale(self) -> Tensor:
        """The scale (targets,) by which errors of different targets compare."""
        return self.normaliser.scale[: self.normaliser.targets]

    @property
    def state_shapes(self) -> Mapping[str, tuple[int, ...]]:
        """
        The state of a stream: name -> shape without the batch.

        Empty where some part needs the whole row at every step.
        """
        normaliser, of_reader = self.normaliser, self.reader.state_shapes
        whole = self.segments is not None or self.skip is not None
        if whole or not of_reader or not isinstance(normaliser, CausalNormaliser):
            return {}
        if self.channels is not None:
            rows = self.channels.targets
            of_reader = {name: (rows, *shape) for name, shape in of_reader.items()}
        return {**normaliser.state_shapes, **of_reader}

    def forward(
        self, sequences: Tensor, lengths: Tensor, future: Tensor | None = None
    ) -> tuple[Tensor, Tensor | None]:
        """
        Return predictions (batch, horizon, targets, quantiles), in the data's units.

        ``sequences`` is (batch, time, features); what lies beyond ``lengths`` (batch,) is ignored;
        ``future`` is (batch, horizon, known) for a network with known covariates.  The second
        value is the attention (batch, time) of a network that attends, else None.
        """
        relative, batch, attention = self._answer(sequences, lengths, future)
        return self._restore(relative, batch), attention

    def resume(
        self,
        sequences: Tensor,
        lengths: Tensor,
        future: Tensor | None,
        state: Mapping[str, Tensor],
    ) -> tuple[Tensor, Carried]:
        """
        Return the predictions after more steps of each row, and the next state.

        ``state`` is what the last call returned, (batch, *shape) for each of ``state_shapes``;
        zeros before the first step.  Where a row is cut into calls does not change its answers.
        Raises ValueError for a network that cannot stream.
        """
        normaliser, reader = self.normaliser, self.reader
        if not (self.state_shapes and isinstance(normaliser, CausalNormaliser)):
            raise ValueError("This network reads whole rows only.")
        batch, of_levels = normaliser.resume(sequences, lengths, state)
        of_reader = {name: state[name] for name in reader.state_shapes}
        inputs, channels, ahead = batch.inputs, self.channels, self._ahead(future)
        if channels is not None:
            inputs, lengths = channels(inputs, lengths)
            ahead = None if ahead is None else channels.repeat(ahead)
            of_reader = {name: channels.part(each) for name, each in of_reader.items()}
        last, carried = reader.resume(inputs, lengths, of_reader)
        raw: Tensor = self.head(last, ahead)
        if channels is not None:
            raw = channels.join(raw)
            carried = {name: channels.gather(each) for name, each in carried.items()}
        return self._restore(self.quantiles(raw), batch), of_levels | carried

    def loss(
        self, sequences: Tensor, lengths: Tensor, future: Tensor | None, actuals: Tensor
    ) -> Tensor:
        """
        Return the mean pinball loss; actuals that are NaN are skipped.

        Its unit is the global scale, or each row's own spread if the normalisation is one of
        ``OWN_UNITS``, so that series of every size count alike.
        """
        relative, batch, _ = self._answer(sequences, lengths, future)
        wanted = self.normaliser.relative(actuals, batch.shift)
        if batch.spread is not None and self.normaliser.kind in OWN_UNITS:
            wanted = wanted / batch.spread
        elif batch.spread is not None:
            relative = relative * batch.spread[..., None]
        weights = self.target_scale / self.target_scale.mean() if self.weighted else None
        return pinball(self.levels, relative, wanted, weights)

    @torch.no_grad()
    def linear_pairs(
        self, sequences: Tensor, lengths: Tensor, actuals: Tensor
    ) -> tuple[Tensor, Tensor]:
        """
        Return the inputs of the skip, (batch, targets, steps), and its ideal outputs.

        These are (batch, targets, horizon), normalised; NaN where unknown.  Raises ValueError for
        a network without a skip.
        """
        if self.skip is None:
            raise ValueError("This network has no linear skip.")
        batch: Normalised = self.normaliser(sequences, lengths)
        wanted = self.normaliser.relative(actuals, batch.shift)
        if batch.spread is not None:
            wanted = wanted / batch.spread
        return self.skip.recent(batch.targets, lengths), wanted.transpose(1, 2)

    def _restore(self, relative: Tensor, batch: Normalised) -> Tensor:
        if batch.spread is not None:
            relative = relative * batch.spread[..., None]
        return self.normaliser.restore(relative, batch.shift)

    def _ahead(self, future: Tensor | None) -> Tensor | None:
        return None if future is None else self.normaliser.standardise_future(future)

    def _answer(
        self, sequences: Tensor, lengths: Tensor, future: Tensor | None
    ) -> tuple[Tensor, Normalised, Tensor | None]:
        """Return the normalised answer, the normalised batch and the attention."""
        batch: Normalised = self.normaliser(sequences, lengths)
        raw, attention = self._read(batch.inputs, lengths, self._ahead(future))
        answer: Tensor = self.quantiles(raw)
        if self.skip is not None:
            answer = answer + self.skip(batch.targets, lengths)[..., None]
        return answer, batch, attention

    def _read(
        self, inputs: Tensor, lengths: Tensor, ahead: Tensor | None
    ) -> tuple[Tensor, Tensor | None]:
        """Return the output of the head, (batch, horizon, outputs), and the attention."""
        time = inputs.shape[1]
        if self.channels is not None:
            inputs, lengths = self.channels(inputs, lengths)
            ahead = None if ahead is None else self.channels.repeat(ahead)
        steps = lengths
        if self.segments is not None:
            inputs, lengths = self.segments(inputs, steps)
        state, attention = self.reader(inputs, lengths)
        raw: Tensor = self.head(state, ahead)
        if attention is not None and self.segments is not None:
            attention = self.segments.spread(attention, steps, time)
        if self.channels is not None:
            raw = self.channels.join(raw)
            attention = None if attention is None else self.channels.mean(attention)
        return raw, attention
