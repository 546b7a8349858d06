"""edgetl ships the fastest version of a classifier that it can prove is still that classifier.

    from edgetl import Classifier
    prediction = Classifier.load("digits-1.0.0.edgetl").predict("7.png")

Importing edgetl loads neither torch nor a runtime.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from edgetl.version import __version__

if TYPE_CHECKING:
    from edgetl.runtime.classifier import Classifier, Prediction

__all__ = ["Classifier", "Prediction", "__version__"]


def __getattr__(name: str) -> Any:
    # Lazily: `edgetl --version` should not wait for numpy and Pillow.
    if name in ("Classifier", "Prediction"):
        from edgetl.runtime import classifier

        return getattr(classifier, name)
    raise AttributeError(f"module 'edgetl' has no attribute {name!r}")
