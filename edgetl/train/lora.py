"""LoRA: small trainable matrices beside frozen linear layers, merged before anything is stored."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from torch import Tensor, nn

from edgetl.errors import ConfigError, ModelError
from edgetl.extras import extra
from edgetl.reference.probe import probing
from edgetl.spec import ClassifierInput
from edgetl.train.terms.checks import head_block, listed

if TYPE_CHECKING:
    from peft import LoraModel

_ADAPTER = "default"


@dataclass(frozen=True, kw_only=True, eq=False)
class LoraNetwork:
    """A network whose linear layers have LoRA's matrices beside them.

    Attributes:
        network: The module that was given; some of its linear layers are wrapped now.
        layers: The dotted names of these layers in the plain network.
        head: The whole head's dotted name, in which nothing is wrapped.
    """

    network: nn.Module
    layers: tuple[str, ...]
    head: str
    _tuner: LoraModel
    _order: Mapping[str, tuple[str, ...]]

    def set_trainable(self) -> tuple[nn.Parameter, ...]:
        """Freeze all but LoRA's matrices and the head; returns those that train, in order."""
        for name, parameter in self.network.named_parameters():
            parameter.requires_grad_(is_lora(name) or name.startswith(f"{self.head}."))
        return tuple(each for each in self.network.parameters() if each.requires_grad)

    def plain_state(self) -> dict[str, Tensor]:
        """The merged state under the plain network's names; the network stays as it is."""
        whole = copy.deepcopy(self)
        return whole.merge().state_dict()

    def merge(self) -> nn.Module:
        """Add the matrices to the weights and take them away; the module itself, plain again.

        Raises:
            ModelError: When a merged weight is NaN or infinite.
        """
        try:
            merged: nn.Module = self._tuner.merge_and_unload(progressbar=False, safe_merge=True)
        except ValueError as error:
            raise ModelError(
                "LoRA",
                got=str(error),
                expected="finite weights",
                fix="lower the learning rate or lora_alpha",
            ) from error
        # peft registers an attention's weights anew, behind its bias: a state is read in order.
        for name, module in merged.named_modules():
            parameters = [(key, module._parameters[key]) for key in self._order[name]]
            module._parameters.clear()
            module._parameters.update(parameters)
        return merged.requires_grad_(True)


def is_lora(name: str) -> bool:
    """Whether a parameter of that name is one of LoRA's matrices.

    Example:
        >>> is_lora("body.1.lora_A.default.weight"), is_lora("body.1.base_layer.weight")
        (True, False)
    """
    return ".lora_A." in name or ".lora_B." in name


def with_lora(
    network: nn.Module,
    *,
    rank: int,
    alpha: float,
    layers: Sequence[str] | None,
    head: str,
    input: ClassifierInput,
) -> LoraNetwork:
    """Put LoRA's matrices beside linear layers, in place.

    A layer W becomes W + (alpha / rank) B A with A [rank, in] random and B [out, rank] zero, so
    that the answers are at first what they were; only A, B and the head train. Hu et al. 2021,
    arXiv:2106.09685. Of an `nn.MultiheadAttention`, whose projections are bare parameters, the
    whole module is adapted: its input projection and its output projection.

    A layer counts only when its own forward runs: swin_t's attention and PyTorch's
    `nn.TransformerEncoderLayer` read the weights of theirs, and matrices beside those would be
    left out without a word.

    Args:
        network: With its starting weights, on any device.
        rank: From 1.
        alpha: The scale, above 0.
        layers: Dotted names, or ends of them such as ``"qkv"`` or ``"mlp.fc1"``; None takes every
            linear layer and attention but the head.
        head: The last linear layer's dotted name.
        input: What the classifier takes; the network is run to see which layers are called.

    Returns:
        The network and what was adapted.

    Raises:
        ConfigError: For a rank or alpha that cannot be used, or `layers` that the network has not.
        ModelError: When no layer can be adapted, with what can be done instead.
        MissingExtraError: When peft is not installed.

    Example:
        >>> from edgetl.spec import TensorInput
        >>> network = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 2))
        >>> lora = with_lora(network, rank=2, alpha=4.0, layers=None, head="2",
        ...                  input=TensorInput(shape=(4,)))
        >>> lora.layers, len(lora.set_trainable())
        (('0',), 4)
        >>> list(lora.merge().state_dict())
        ['0.weight', '0.bias', '2.weight', '2.bias']
    """
    _check(rank, alpha)
    with extra("lora"):
        from peft import LoraConfig, LoraModel
    block = head_block(network, head)
    chosen = _chosen(network, layers, block, input)
    order = {name: tuple(module._parameters) for name, module in network.named_modules()}
    config = LoraConfig(
        r=rank, lora_alpha=alpha, lora_dropout=0.0, bias="none", target_modules=list(chosen)
    )
    tuner = LoraModel(network, {_ADAPTER: config}, _ADAPTER)
    lora = LoraNetwork(network=network, layers=chosen, head=block, _tuner=tuner, _order=order)
    lora.set_trainable()
    return lora


def _check(rank: int, alpha: float) -> None:
    if type(rank) is not int or rank < 1:
        raise ConfigError(
            "lora_rank", got=repr(rank), expected="a whole number from 1", fix="set it to 8"
        )
    if type(alpha) not in (int, float) or not 0 < alpha < float("inf"):
        raise ConfigError(
            "lora_alpha",
            got=repr(alpha),
            expected="a finite number above 0",
            fix="set it to twice the rank",
        )


def _chosen(
    network: nn.Module, layers: Sequence[str] | None, head: str, input: ClassifierInput
) -> tuple[str, ...]:
    candidates = dict(_candidates(network, head))
    with probing(network, input) as batches, _calls(candidates) as called:
        network(*batches)
    able = tuple(name for name in candidates if name in called)
    if layers is not None:
        return _named(layers, able, list(candidates))
    if not able:
        raise ModelError(
            f"LoRA in network {type(network).__name__}",
            got=f"no linear layer but the head '{head}' that is called",
            expected="linear layers, such as a transformer's",
            fix="take another recipe, such as 'two-stage', for a convolutional network",
        )
    return able


def _candidates(network: nn.Module, head: str) -> Iterator[tuple[str, nn.Module]]:
    """Attentions, and linear layers that are neither in one of these nor the head."""
    attentions = [
        name
        for name, module in network.named_modules()
        if isinstance(module, nn.MultiheadAttention)
    ]
    for name, module in network.named_modules():
        apart = not any(f"{name}.".startswith(f"{other}.") for other in (*attentions, head))
        if name in attentions or (isinstance(module, nn.Linear) and apart):
            yield name, module


@contextmanager
def _calls(modules: dict[str, nn.Module]) -> Iterator[set[str]]:
    """Inside the block the set grows by the names of the modules whose forward ran."""
    called: set[str] = set()

    def note(name: str) -> Any:
        return lambda _module, _inputs: called.add(name)

    handles = [module.register_forward_pre_hook(note(name)) for name, module in modules.items()]
    try:
        yield called
    finally:
        for handle in handles:
            handle.remove()


def _named(layers: Sequence[str], able: tuple[str, ...], known: list[str]) -> tuple[str, ...]:
    """The layers that the user's names mean, in the network's order."""
    found: set[str] = set()
    for wanted in layers:
        meant = [name for name in known if name == wanted or name.endswith(f".{wanted}")]
        lost = [name for name in meant if name not in able]
        if not meant or lost:
            raise _unusable(wanted, lost, able)
        found.update(meant)
    if not found:
        raise _unusable("", [], able)
    return tuple(name for name in known if name in found)


def _unusable(wanted: str, lost: list[str], able: tuple[str, ...]) -> ConfigError:
    why = "which is no linear layer or attention to adapt"
    if lost:
        why = f"and the network reads the weights of '{lost[0]}' without calling it"
    return ConfigError(
        "lora_layers",
        got=f"'{wanted}', {why}",
        expected=f"names of layers, or ends of them, among {listed(able) or 'none'}",
        fix="name some of these, or leave lora_layers out to take all; of an attention of PyTorch "
        "name the whole module, not its out_proj",
    )
