"""A moving average of a network's weights, which is validated and kept in their place."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

_COUNT = "n_averaged"


class Average:
    """The average of a network's weights and batch statistics over the steps of a phase.

    After step t a weight's average is d a + (1 - d) w with d = min(decay, (1 + t) / (10 + t)): the
    first steps would otherwise weigh as much as hundreds of later ones (Polyak and Juditsky 1992;
    the warm-up is that of TensorFlow's ExponentialMovingAverage).

    Args:
        network: Where it starts; its own tensors are left alone.
        decay: Above 0, below 1.

    Example:
        >>> import torch
        >>> network = nn.Linear(1, 1, bias=False)
        >>> _ = nn.init.ones_(network.weight)
        >>> average = Average(network, 0.5)
        >>> _ = nn.init.constant_(network.weight, 3.0)
        >>> average.update(network)
        >>> round(average.network.weight.item(), 4)  # d is 2 / 11
        2.6364
    """

    def __init__(self, network: nn.Module, decay: float) -> None:
        self._decay = decay
        # Buffers too: batch statistics of today's weights do not fit averaged ones.
        self._model = AveragedModel(network, multi_avg_fn=self._mix, use_buffers=True)
        # The first update would take the network as it is: the average starts where it starts.
        self._model.n_averaged.fill_(1)

    @property
    def network(self) -> nn.Module:
        """The network with averaged weights."""
        module: nn.Module = self._model.module
        return module

    def update(self, network: nn.Module) -> None:
        """Take in the weights after a step."""
        self._model.update_parameters(network)

    def state(self) -> dict[str, Tensor]:
        """The averaged tensors under the network's own names, and how many steps are in them."""
        return {**self.network.state_dict(), _COUNT: self._model.n_averaged}

    def restore(self, state: Mapping[str, Tensor]) -> None:
        """Go on from what `state` gave."""
        tensors = dict(state)
        self._model.n_averaged.copy_(tensors.pop(_COUNT))
        self.network.load_state_dict(tensors)

    def _mix(
        self,
        averaged: tuple[Tensor, ...] | list[Tensor],
        current: tuple[Tensor, ...] | list[Tensor],
        count: Tensor | int,
    ) -> None:
        if not averaged[0].is_floating_point():
            # Counters and tables of indices: a mean of them, cut off to a whole number, is wrong.
            for mine, theirs in zip(averaged, current, strict=True):
                mine.copy_(theirs)
            return
        step = int(count)
        decay = min(self._decay, (1 + step) / (10 + step))
        get_ema_multi_avg_fn(decay)(averaged, current, count)  # type: ignore[no-untyped-call]


def averaged_weights(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The network's tensors out of what `Average.state` gave.

    Example:
        >>> import torch
        >>> sorted(averaged_weights({"weight": torch.ones(1), "n_averaged": torch.tensor(3)}))
        ['weight']
    """
    return {name: tensor for name, tensor in state.items() if name != _COUNT}
