"""Every error that edgetl raises, as one tree.

EdgetlError                     exit 2
├── UsageError                  the command line
├── ConfigError                 a TOML config or policy
├── DataError                   a dataset, an image, ptq samples
├── SpecError                   an array that is not what a TensorSpec says, on any backend
├── CheckpointError             weights or a checkpoint
├── ModelError                  an ONNX or IR model
├── BundleError                 a bundle; `verify` and `selftest` answer it with exit 1
├── GateError                   predictions, policies and verdicts that do not fit together
├── BackendError                what a vendor runtime raised, translated once, in its backend
├── WorkerError                 the reference's process
└── UnavailableError            exit 3: a backend, device or extra that was asked for is not here
    └── MissingExtraError       an optional dependency is not installed

Each message has four parts: subject, got, expected, how to fix.
"""

from __future__ import annotations

from typing import ClassVar


class EdgetlError(Exception):
    """The root: a message in four parts.

    Args:
        subject: What the message is about: a file, a key, a variant.
        got: What was found.
        expected: What would have been right.
        fix: What the reader can do about it.

    Example:
        >>> print(EdgetlError("threads", got="0", expected="at least 1", fix="pass --threads 1"))
        threads: got 0; expected at least 1; to fix: pass --threads 1
    """

    exit_code: ClassVar[int] = 2

    def __init__(self, subject: str, *, got: str, expected: str, fix: str) -> None:
        super().__init__(subject, got, expected, fix)
        self.subject = subject
        self.got = got
        self.expected = expected
        self.fix = fix

    def __str__(self) -> str:
        return f"{self.subject}: got {self.got}; expected {self.expected}; to fix: {self.fix}"

    def __reduce__(self) -> tuple[object, ...]:
        # The keyword-only parts would be lost by Exception's own pickling.
        return _rebuild, (type(self), self.subject, self.got, self.expected, self.fix)


def _rebuild(
    kind: type[EdgetlError], subject: str, got: str, expected: str, fix: str
) -> EdgetlError:
    return kind(subject, got=got, expected=expected, fix=fix)


class UsageError(EdgetlError):
    """The command line is not right."""


class ConfigError(EdgetlError):
    """A TOML config or policy is not right."""


class DataError(EdgetlError):
    """A dataset, an image or a set of ptq samples is not right."""


class SpecError(EdgetlError):
    """An array's dtype, shape, layout, byte order or values are not what the spec says."""


class CheckpointError(EdgetlError):
    """Weights cannot be read, or do not fit the network."""


class ModelError(EdgetlError):
    """A model file is refused, or is not the model it should be."""


class BundleError(EdgetlError):
    """A bundle is not exactly what its manifest says."""


class GateError(EdgetlError):
    """Predictions, policies and measurements that do not fit together."""


class BackendError(EdgetlError):
    """A vendor runtime failed; its own words are in `got`."""


class WorkerError(EdgetlError):
    """The reference's process failed; its own words are in `got`."""


class UnavailableError(EdgetlError):
    """A backend, device or extra that was asked for is not here. Nothing is substituted."""

    exit_code: ClassVar[int] = 3


class MissingExtraError(UnavailableError):
    """An optional dependency is not installed; the message names the extra."""
