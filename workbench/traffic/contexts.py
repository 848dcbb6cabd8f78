"""Mixes of the kinds of requests, such as "clean" and "noisy", and rows drawn of them."""

from collections.abc import Mapping
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from workbench.errors import InvalidInput
from workbench.validation import Seed, generator_from, of_kind, positive_share

_ROUNDING = 1e-6  # by which shares written as decimals may miss 1


class RowPool(Protocol):
    """Rows that requests can carry, such as the samples of a model."""

    @property
    def context(self) -> NDArray[np.str_] | None:
        """The kind of each row; None where it is not known."""

    def __len__(self) -> int: ...


def read_mix(mix: Mapping[str, float], known: NDArray[np.str_] | None) -> dict[str, float]:
    """Return the share of each kind, of kinds that are known.

    Raises:
        InvalidInput: A kind is not known, a share is not above 0 and at most 1, or their sum not 1.

    >>> read_mix({"clean": 0.75, "noisy": 0.25}, np.array(["noisy", "clean", "noisy"]))
    {'clean': 0.75, 'noisy': 0.25}
    """
    mix = dict(of_kind("mix", mix, Mapping, "a share for each kind"))
    kinds = [] if known is None else sorted(set(known[known != ""].tolist()))
    if unknown := [kind for kind in mix if kind not in kinds]:
        names = ", ".join(kinds) or "none"
        raise InvalidInput(f"No row is of kind {unknown[0]!r}; known: {names}.")
    shares = {kind: positive_share(f"The share of {kind!r}", share) for kind, share in mix.items()}
    if abs(sum(shares.values()) - 1) > _ROUNDING:
        raise InvalidInput(f"The shares of a mix must add up to 1, got {sum(shares.values()):g}.")
    return shares


def draw_rows(
    pool: RowPool, count: int, mix: Mapping[str, float] | None, seed: Seed
) -> NDArray[np.int64]:
    """Return so many rows of a pool, drawn with replacement, of a mix as `read_mix` takes it."""
    rng = generator_from(seed)
    if mix is None:
        return rng.integers(0, len(pool), count)
    shares = read_mix(mix, pool.context)
    total = sum(shares.values())
    kinds = rng.choice(len(shares), count, p=[share / total for share in shares.values()])
    rows = np.empty(count, np.int64)
    for number, kind in enumerate(shares):
        chosen = kinds == number
        rows[chosen] = rng.choice(np.flatnonzero(pool.context == kind), int(chosen.sum()))
    return rows
