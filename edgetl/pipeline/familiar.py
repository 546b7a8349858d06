"""Does a network that came trained know the val split by heart?"""

from __future__ import annotations

import math

from edgetl.gate import Predictions
from edgetl.metrics import nll
from edgetl.metrics.probability import per_image_nll

_LEAST = 0.02
_STANDARD_ERRORS = 4.0


def familiar_images(val: Predictions, test: Predictions) -> str | None:
    """Say when a reference does so much better on val than on test that chance is ruled out.

    A temperature that is fitted to images that a network was trained on makes it too sure of
    itself everywhere else, and no verdict against that reference would show it.

    Args:
        val, test: The reference's own answers, with labels; in place of val's may be calib's,
            which its temperature was fitted to.

    Returns:
        A warning when the mean NLL on test is above that on val by more than 0.02 nats and more
        than four standard errors of the difference; None otherwise.

    Example:
        >>> import numpy as np
        >>> rng = np.random.default_rng(0)
        >>> labels = rng.integers(0, 2, 400)
        >>> sure = np.where(np.eye(2)[labels] == 1, 0.99, 0.01)
        >>> unsure = np.where(np.eye(2)[rng.permutation(labels)] == 1, 0.7, 0.3)
        >>> familiar_images(Predictions(labels=labels, probabilities=sure),
        ...                 Predictions(labels=labels, probabilities=unsure))[:40]
        'warning: the reference knows the val and'
    """
    if val.labels is None or test.labels is None:
        return None
    there = per_image_nll(val.probabilities, val.labels)
    here = per_image_nll(test.probabilities, test.labels)
    more = float(here.mean() - there.mean())
    error = math.sqrt(here.var() / len(here) + there.var() / len(there))
    if not (more > _LEAST and more > _STANDARD_ERRORS * error):
        return None
    return (
        f"warning: the reference knows the val and calib images better than the test images "
        f"(NLL {nll(val.probabilities, val.labels):.4f} there, "
        f"{nll(test.probabilities, test.labels):.4f} here), as if it had been trained on them; its "
        "temperature is then too sure; to fix: give images that it was not trained on as val/"
    )
