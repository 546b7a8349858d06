"""The checks that every backend shares, so that each mistake has one answer everywhere."""

from __future__ import annotations

import ctypes
import os
import weakref
from abc import ABC, abstractmethod
from collections.abc import Mapping
from types import MappingProxyType

import numpy as np

from edgetl.errors import BackendError, EdgetlError, SpecError, UsageError
from edgetl.spec import Array, TensorSpec

_loaded: weakref.WeakSet[CheckedBackend] = weakref.WeakSet()


class CheckedBackend(ABC):
    """A backend whose calls are checked before and after; a runtime adds `_answer`.

    Args:
        subject: What to call the model in an error, such as a variant's id.
        input_spec: The inputs by name.
        output_spec: The outputs by name.
    """

    def __init__(
        self,
        subject: str,
        *,
        input_spec: Mapping[str, TensorSpec],
        output_spec: Mapping[str, TensorSpec],
    ) -> None:
        self._subject = subject
        self._input_spec = MappingProxyType(dict(input_spec))
        self._output_spec = MappingProxyType(dict(output_spec))
        self._expected = {n: (np.dtype(spec.dtype), spec.shape) for n, spec in output_spec.items()}
        # Which input says how large the batch is, if any does.
        self._batch_input = next((n for n, spec in input_spec.items() if _has_batch(spec)), None)
        self._process = os.getpid()
        self._closed = False
        _loaded.add(self)

    @property
    def input_spec(self) -> Mapping[str, TensorSpec]:
        """The inputs by name."""
        return self._input_spec

    @property
    def output_spec(self) -> Mapping[str, TensorSpec]:
        """The outputs by name."""
        return self._output_spec

    def run(self, inputs: Mapping[str, Array]) -> dict[str, Array]:
        """Answer one batch; see the Backend protocol.

        Raises:
            SpecError: For inputs that are not the spec's.
            BackendError: After `close`, after a fork, when the runtime fails, or when it
                answers with something else than its spec, NaN and infinity included.
        """
        self._check_alive()
        _check_inputs(self._subject, self._input_spec, inputs)
        try:
            outputs = self._answer(inputs)
        except EdgetlError:
            raise
        except Exception as error:
            # When another thread closed the model meanwhile, that is what to say.
            self._check_alive()
            raise vendor_error(self._subject, error) from error
        self._check_outputs(outputs, self._batch_of(inputs))
        return outputs

    def close(self) -> None:
        """Release the model. Closing twice is allowed; calls that are under way finish."""
        if not self._closed:
            self._closed = True
            # A forked process has the model but not its threads: releasing would wait for them.
            if os.getpid() == self._process:
                self._release()

    @abstractmethod
    def _answer(self, inputs: Mapping[str, Array]) -> dict[str, Array]:
        """Run the model on checked inputs; the arrays returned belong to the caller."""

    @abstractmethod
    def _release(self) -> None:
        """Let go of the runtime's objects."""

    def _batch_of(self, inputs: Mapping[str, Array]) -> int | None:
        if self._batch_input is None:
            return None
        return int(inputs[self._batch_input].shape[0])

    def _check_alive(self) -> None:
        if self._closed:
            raise self._error("a call after close()", "an open backend", "load the model again")
        if os.getpid() != self._process:
            raise self._error(
                "a call in a process that was forked after the model was loaded",
                "a model loaded in this process",
                "load after the fork, or start processes with the 'spawn' method",
            )

    def _check_outputs(self, outputs: Mapping[str, Array], batch: int | None) -> None:
        if outputs.keys() != self._output_spec.keys():
            raise self._error(
                f"outputs {sorted(outputs)}", f"{sorted(self._output_spec)}", _OUTPUT_FIX
            )
        for name, array in outputs.items():
            dtype, sizes = self._expected[name]
            # A classifier's [batch, classes] is compared at once; this runs in every call.
            at_once = sizes[:1] == (None,) and array.shape == (batch, *sizes[1:])
            if array.dtype != dtype or not (at_once or _fits(array.shape, sizes, batch)):
                raise self._error(
                    f"output '{name}' as {array.dtype} {list(array.shape)} for a batch of {batch}",
                    f"{dtype} {['batch' if size is None else size for size in sizes]}",
                    _OUTPUT_FIX,
                )
            if dtype.kind == "f" and not np.isfinite(array).all():
                raise self._error(
                    f"NaN or infinity in output '{name}'", "finite numbers", _OUTPUT_FIX
                )

    def _error(self, got: str, expected: str, fix: str) -> BackendError:
        return BackendError(self._subject, got=got, expected=expected, fix=fix)


_OUTPUT_FIX = "check the model with the reference; this answer is not usable"


def vendor_error(subject: str, error: Exception) -> BackendError:
    """What a runtime raised, as the error of this library, in the runtime's own words."""
    words = " ".join(str(error).split())[:400] or type(error).__name__
    return BackendError(
        subject,
        got=words,
        expected="a model and a call that the runtime accepts",
        fix="check that the model and the runtime's version go together",
    )


def _check_inputs(
    subject: str, spec: Mapping[str, TensorSpec], inputs: Mapping[str, Array]
) -> None:
    if not isinstance(inputs, Mapping) or inputs.keys() != spec.keys():
        got = sorted(map(str, inputs)) if isinstance(inputs, Mapping) else type(inputs).__name__
        raise SpecError(
            f"inputs of {subject}",
            got=f"{got}",
            expected=f"a mapping with exactly {sorted(spec)}",
            fix="pass run({name: array}) with the names of input_spec",
        )
    for name, tensor in spec.items():
        tensor.check(inputs[name])
    if len(spec) > 1:
        sizes = {name: inputs[name].shape[0] for name, tensor in spec.items() if _has_batch(tensor)}
        if len(set(sizes.values())) > 1:
            raise SpecError(
                f"inputs of {subject}",
                got=f"batches of different sizes {sizes}",
                expected="one batch size",
                fix="pass as many rows in every input",
            )


def _fits(shape: tuple[int, ...], sizes: tuple[int | None, ...], batch: int | None) -> bool:
    if len(shape) != len(sizes):
        return False
    wanted = [batch if axis == 0 and size is None else size for axis, size in enumerate(sizes)]
    return all(want is None or want == got for want, got in zip(wanted, shape, strict=True))


def _has_batch(spec: TensorSpec) -> bool:
    return bool(spec.shape) and spec.shape[0] is None


def usable_cores() -> int:
    """How many cores this process may run on.

    Example:
        >>> usable_cores() >= 1
        True
    """
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def check_threads(threads: int | None) -> int:
    """The number of threads to use: what was asked for, or every usable core for None.

    Raises:
        UsageError: For anything but a positive integer.

    Example:
        >>> check_threads(2)
        2
    """
    if threads is None:
        return usable_cores()
    if type(threads) is not int or threads < 1:
        raise UsageError(
            "threads", got=repr(threads), expected="an integer of at least 1", fix="pass threads=1"
        )
    return threads


def _keep_for_ever() -> None:
    # In a forked child the runtimes' destructors wait for threads that do not exist there, even
    # at interpreter exit. One more reference to each backend means that they never run.
    for backend in list(_loaded):
        ctypes.pythonapi.Py_IncRef(ctypes.py_object(backend))


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_keep_for_ever)
