"""Running a network to see how it answers: what it must give, and what it must not do meanwhile."""

from __future__ import annotations

import copy
import sysconfig
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

import edgetl
from edgetl.errors import ModelError
from edgetl.reference.preprocess import probe_batches
from edgetl.reference.user_code import told
from edgetl.spec import ClassifierInput

_LIBRARIES = tuple(
    Path(folder).resolve()
    for folder in (
        *(sysconfig.get_path(name) for name in ("stdlib", "purelib", "platlib")),
        *edgetl.__path__,
    )
)

_ROUNDING = 1e-4
"""Of the largest logit: another batch size adds up in another order. Dependence is far above."""

_ROUNDING_ELSEWHERE = 1e-2
"""The same on a GPU, whose convolutions may round to ten bits (TF32)."""


@contextmanager
def probing(network: nn.Module, input: ClassifierInput) -> Iterator[list[Tensor]]:
    """In eval mode and without gradients inside the block; two samples of each input."""
    modes = [(module, module.training) for module in network.modules()]
    place = next(network.parameters(), torch.empty(0)).device
    network.eval()
    try:
        # Not inference_mode: what a network keeps of such a call could not be trained with.
        with torch.no_grad():
            yield [batch.to(place) for batch in probe_batches(input)]
    finally:
        for module, training in modes:
            module.training = training


def run_probe(
    network: nn.Module, layer: nn.Module | None, batches: Sequence[Tensor], classes: int
) -> tuple[Tensor, list[Tensor]]:
    """The network's answer, checked, and what the layer gave on the way, a tensor a call.

    Raises:
        ModelError: When the network fails, changes its input, or answers anything but finite
            numbers [n, `classes`].
    """
    given = [batch.clone() for batch in batches]
    outputs: list[Tensor] = []
    with watched(layer or nn.Identity(), outputs):
        answer = _checked(ask(network, given), len(batches[0]), classes)
    if not all(torch.equal(was, now) for was, now in zip(batches, given, strict=True)):
        raise ModelError(
            f"network {type(network).__name__}",
            got="a forward() that changes its input in place",
            expected="an input that is as it was after the call",
            fix="in forward() write x = x * 2 for x *= 2, and no inplace=True in its first layer",
        )
    return answer, outputs


def ask(network: nn.Module, batches: Sequence[Tensor]) -> object:
    """Call a network, whatever its code raises.

    Raises:
        ModelError: With the words of what it raised, and the line in the user's code.
    """
    try:
        return network(*batches)
    except (Exception, SystemExit) as error:
        shapes = " and ".join(str(tuple(batch.shape)) for batch in batches)
        raise ModelError(
            f"network {type(network).__name__}",
            got=told_anywhere(error),
            expected=f"a network that takes float32 {shapes}",
            fix="correct [input], or the network's forward()",
        ) from error


def check_steady(
    network: nn.Module, batches: Sequence[Tensor], answer: Tensor, *, classes: int
) -> None:
    """Refuse a network that answers a sample otherwise on another call, or among others.

    A device asks one image at a time: nothing else that edgetl measures would hold of it there.

    Args:
        network: In eval mode.
        batches: What was asked.
        answer: What it gave, [n, classes].
        classes: How many outputs.

    Raises:
        ModelError: Saying which of the two, and what makes it.
    """
    subject = f"network {type(network).__name__}"
    again, _ = run_probe(network, None, batches, classes)
    if _apart(again, answer):
        raise ModelError(
            subject,
            got="answers that differ from call to call on the same input",
            expected="the same answer every time in eval mode",
            fix="draw nothing in forward(): nn.Dropout, or F.dropout(x, training=self.training), "
            "for F.dropout(x)",
        )
    others = ModelError(
        subject,
        got="its answer to an input depends on the others in the batch",
        expected="the same answer to an input alone, as a device asks it",
        fix="keep BatchNorm's running statistics (track_running_stats=True) and take no mean, "
        "maximum or softmax over dim 0 in forward()",
    )
    for row in range(len(answer)):
        try:
            alone, _ = run_probe(
                network, None, [batch[row : row + 1] for batch in batches], classes
            )
        except ModelError as error:
            # Such as "more than 1 value per channel", of statistics over the batch.
            raise ModelError(
                subject,
                got=f"one sample alone: {error.got}",
                expected=f"[1, {classes}], as a device asks one image at a time",
                fix=f"{error.fix}; or {others.fix}",
            ) from error
        # Of all rows: the tolerance is the largest logit's.
        apart = _apart(torch.cat([answer[:row], alone, answer[row + 1 :]]), answer)
        if apart and _depends_on_others(network, batches):
            raise others


def _depends_on_others(network: nn.Module, batches: Sequence[Tensor]) -> bool:
    """Ask again in float64, where a dependence stays and rounding is gone.

    In float32 a deep network makes logits of 10,000 of the probe's noise, and differences of a
    hundredth of how a batch of another size is added up.
    """
    double = [batch.double() for batch in batches]
    try:
        exact = copy.deepcopy(network).double()
        together = exact(*double)
        alone = [
            exact(*(batch[row : row + 1] for batch in double)) for row in range(len(double[0]))
        ]
        return _apart(torch.cat(alone), together)
    except (RuntimeError, TypeError):
        # Such as a forward() that casts to float32: then what was seen there counts.
        return True


def told_anywhere(error: BaseException) -> str:
    """An exception in one line, with the last line that is no library's.

    Example:
        >>> told_anywhere(ValueError("no"))
        'ValueError: no'
    """
    folder, trace = Path("/dev/null"), error.__traceback__
    while trace is not None:
        file = Path(trace.tb_frame.f_code.co_filename)
        if file.is_absolute() and not any(map(file.resolve().is_relative_to, _LIBRARIES)):
            folder = file.resolve().parent
        trace = trace.tb_next
    return told(error, folder)


def _checked(answer: object, rows: int, classes: int) -> Tensor:
    if not isinstance(answer, Tensor):
        raise not_a_tensor(answer, "")
    if answer.shape != (rows, classes):
        plain = answer.ndim == 2 and answer.shape[1] != classes
        sizes = f"{answer.shape[1]} outputs" if plain else f"{tuple(answer.shape)}"
        raise ModelError(
            "the network's output",
            got=sizes,
            expected=f"[{rows}, {classes}] for {rows} sample(s), as there are {classes} classes",
            fix="build the network with one output a class, or give it the data it was made for",
        )
    if not answer.is_floating_point() or not bool(torch.isfinite(answer).all()):
        kind = "NaN or infinity" if answer.is_floating_point() else str(answer.dtype)
        raise ModelError(
            "the network's output",
            got=kind,
            expected="finite float32 logits, probabilities or log-probabilities",
            fix="look for what makes them in the network's weights and forward()",
        )
    return answer


def not_a_tensor(answer: object, mode: str) -> ModelError:
    """What to write for an answer of another type; `mode` says when it was given."""
    name, take = type(answer).__name__, "one tensor"
    if isinstance(answer, Mapping):
        keys = [str(key) for key in answer]
        got = f"a {name} with the keys {', '.join(keys[:8])}"
        take = f'output["{"logits" if "logits" in keys or not keys else keys[0]}"]'
    elif isinstance(answer, Sequence) and not isinstance(answer, str):
        got, take = f"a {name} of {len(answer)}", "output[0]"
    else:
        got = f"a {name}"
    return ModelError(
        "the network's output",
        got=got + mode,
        expected="one tensor [batch, classes]",
        fix=f"wrap it: let the factory return a module whose forward() gives {take}",
    )


@contextmanager
def watched(layer: nn.Module, outputs: list[Tensor]) -> Iterator[None]:
    """Inside the block `outputs` grows by what the layer gives, a tensor a call."""

    def keep(_module: nn.Module, _inputs: Any, output: Any) -> None:
        outputs.append(output)

    handle = layer.register_forward_hook(keep)
    try:
        yield
    finally:
        handle.remove()


def _apart(one: Tensor, other: Tensor) -> bool:
    limit = _ROUNDING if other.device.type == "cpu" else _ROUNDING_ELSEWHERE
    return not bool((one - other).abs().max() <= limit * other.abs().max())
