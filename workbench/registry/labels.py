"""What a classifier's answers mean: labels, or a score for each class."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

Label = bool | int | float | str

_ROUNDING = 0.05  # by which probabilities of 8 bits may miss a sum of 1
_BELOW_ZERO = 1e-5  # by which rounding may take one, as 1 minus the sum of many others


def find_labels(outputs: NDArray[Any], classes: tuple[Label, ...] | None = None) -> NDArray[Any]:
    """Return the label of each row: as answered, or the class with the largest of several scores.

    Without `classes` the class is the number of the score's column, from 0.

    >>> find_labels(np.array([[0.2, 0.8], [0.7, 0.3]]), ("cat", "dog")).tolist()
    ['dog', 'cat']
    """
    if not are_scores(outputs):
        return np.asarray(outputs.reshape(-1))
    columns: NDArray[Any] = outputs.argmax(axis=1)
    return columns if classes is None else np.asarray(classes)[columns]


def correct(
    outputs: NDArray[Any], targets: NDArray[Any], classes: tuple[Label, ...] | None = None
) -> NDArray[np.bool_]:
    """Return which rows are predicted right, by the labels that `find_labels` gives.

    >>> correct(np.array([3, 1]), np.array([3, 2]))
    array([ True, False])
    """
    return np.asarray(find_labels(outputs, classes) == targets)


def are_probabilities(scores: NDArray[Any]) -> NDArray[np.bool_]:
    """Return which rows hold numbers of at least 0 that add up to 1, but for rounding.

    >>> are_probabilities(np.array([[0.25, 0.75], [0.5, 0.9], [-1.0, 2.0]])).tolist()
    [True, False, False]
    """
    return np.asarray(
        (scores >= -_BELOW_ZERO).all(axis=1) & (abs(scores.sum(axis=1) - 1) < _ROUNDING)
    )


def are_scores(outputs: NDArray[Any]) -> bool:
    """Return whether answers are several scores a row."""
    return outputs.ndim == 2 and outputs.shape[1] > 1
