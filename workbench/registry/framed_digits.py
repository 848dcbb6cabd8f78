"""The task "framed-digits": real digits somewhere in a larger frame, where size buys accuracy.

Each of scikit-learn's images, 8 x 8, is set into a frame of 14 x 14: at its centre ("clean"),
anywhere ("shifted"), or anywhere and under noise ("noisy"). Images to train on and held-out ones
are apart; rows are drawn of them with a seed, about a third of each kind. The held-out rows show
540 images, each about 19 times, so that intervals which take rows for independent are too narrow.
"""

import warnings
from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from workbench.registry.estimator_inputs import Estimator
from workbench.registry.onnx import Session

Floats = NDArray[np.float32]

TASK = "framed-digits"
KINDS = ("clean", "shifted", "noisy")
SIDE = 14
"""Pixels of a frame's side; a row has SIDE * SIDE values, mostly from 0 to 1."""

NOISE = 0.25
"""Standard deviation of the noise in each pixel."""

TRAINING_ROWS, HELD_OUT_ROWS = 9_000, 10_000  # some 7 and 18 frames of each image
_PATCH = 7  # pixels of a patch's side
_LEAST_CONTRAST = 0.5  # norm of a patch about its mean: below it shows nothing
_THRESHOLD = 0.3  # below which a patch's match counts as none
_WIDE_PENALTY = 300.0  # on the weights behind a random layer, which has units enough to overfit
_SHARPNESS = 8.0  # of the probabilities of least squares' scores, which lie from -1 to 1


@dataclass(frozen=True, eq=False)
class FramedRows:
    """Rows with their digits and kinds."""

    rows: Floats
    digits: NDArray[np.int64]
    kinds: NDArray[np.str_]


@cache
def load(seed: int) -> tuple[FramedRows, FramedRows]:
    """Return the rows to train on, and those held out, which show other images."""
    from sklearn.datasets import load_digits
    from sklearn.model_selection import train_test_split

    images, digits = load_digits(return_X_y=True)
    images = (images / images.max()).reshape(-1, 8, 8).astype(np.float32)
    train, test, train_digits, test_digits = train_test_split(
        images, digits, test_size=0.3, random_state=seed, stratify=digits
    )
    rng = np.random.default_rng(seed)
    return (
        frame_images(train, train_digits, TRAINING_ROWS, rng),
        frame_images(test, test_digits, HELD_OUT_ROWS, rng),
    )


def frame_images(
    images: Floats, digits: NDArray[np.int64], count: int, rng: np.random.Generator
) -> FramedRows:
    """Return so many rows of images set into frames, each of an image and a kind drawn by lot."""
    which = rng.integers(0, len(images), count)
    kinds = np.array(KINDS)[rng.integers(0, len(KINDS), count)]
    room = SIDE - images.shape[1]
    corner = rng.integers(0, room + 1, (2, count))
    corner[:, kinds == "clean"] = room // 2
    y, x = (at[:, None] + np.arange(images.shape[1]) for at in corner)
    frames = np.zeros((count, SIDE, SIDE), np.float32)
    frames[np.arange(count)[:, None, None], y[:, :, None], x[:, None, :]] = images[which]
    noisy = kinds == "noisy"
    frames[noisy] += rng.normal(0, NOISE, frames[noisy].shape)
    return FramedRows(frames.reshape(count, -1), digits[which], kinds)


def fit_patches(
    train: FramedRows, count: int, seed: int, *, keep: int | None = None, width: int = 0
) -> bytes:
    """Return the ONNX file of a network that looks for random patches of the images anywhere.

    Each patch is compared at every place of the frame (a convolution), its best match is kept, and
    the digit follows from all of these by least squares (A. Coates, A. Ng and H. Lee, "An analysis
    of single-layer networks in unsupervised feature learning", 2011).

    Args:
        train: What it learns from.
        count: Patches.
        seed: Of the patches, and of the random layer.
        keep: How many patches stay, those with the largest weights; the weights are fitted again.
        width: Units of a random layer between matches and digits; 0: there is none.
    """
    patches = _draw_patches(train.rows[train.kinds == "clean"], count, seed)
    matches = _match(patches, train.rows)
    layers = [_fit_least_squares(matches, train.digits)]
    if keep is not None:
        chosen = np.sort(np.argsort(-np.linalg.norm(layers[0][0], axis=1))[:keep])
        patches = patches[chosen]
        layers = [_fit_least_squares(matches[:, chosen], train.digits)]
    if width:
        hidden = _draw_layer(matches, width, seed)
        values = np.maximum(matches @ hidden[0] + hidden[1], 0)
        layers = [hidden, _fit_least_squares(values, train.digits, penalty=_WIDE_PENALTY)]
    return _build_network(patches, layers)


def _match(patches: Floats, rows: Floats) -> Floats:
    """Return the best match of each patch in each row; in pieces, as every place takes memory."""
    session = Session(_build_network(patches, []))
    return np.concatenate([session.run(rows[at : at + 100]) for at in range(0, len(rows), 100)])


def _draw_layer(matches: Floats, width: int, seed: int) -> tuple[Floats, Floats]:
    """Return random weights and offsets for matches, each of which counts by its spread."""
    rng = np.random.default_rng(seed)
    count = matches.shape[1]
    weights = rng.normal(0, count**-0.5, (count, width)) / matches.std(axis=0)[:, None]
    offsets = rng.normal(0, 0.5, width) - matches.mean(axis=0) @ weights
    return weights.astype(np.float32), offsets.astype(np.float32)


def prune_network(content: bytes, train: FramedRows, share: float, seed: int) -> Estimator:
    """Return an estimator of the network in a file, trained on without some of its hidden units.

    Of each hidden layer the share of units with the largest weights stays.
    """
    import onnx
    from sklearn.neural_network import MLPClassifier

    tensors = onnx.load_model_from_string(content).graph.initializer
    known = {each.name: onnx.numpy_helper.to_array(each) for each in tensors}
    weights = [known[name] for name in sorted(known) if name.startswith("coefficient")]
    offsets = [known[name].ravel() for name in sorted(known) if name.startswith("intercepts")]
    for layer in range(len(weights) - 1):
        sizes = np.linalg.norm(weights[layer], axis=0) * np.linalg.norm(weights[layer + 1], axis=1)
        chosen = np.sort(np.argsort(-sizes)[: max(1, int(share * len(sizes)))])
        weights[layer], offsets[layer] = weights[layer][:, chosen], offsets[layer][chosen]
        weights[layer + 1] = weights[layer + 1][chosen]
    hidden = tuple(each.shape[1] for each in weights[:-1])
    pruned = MLPClassifier(hidden, max_iter=1, warm_start=True, random_state=seed)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that one round is not enough
        pruned.fit(train.rows[:200], train.digits[:200])  # makes what training goes on from
    pruned.coefs_ = [np.array(each, np.float32) for each in weights]
    pruned.intercepts_ = [np.array(each, np.float32) for each in offsets]
    return pruned.set_params(max_iter=3)


def _draw_patches(rows: Floats, count: int, seed: int) -> Floats:
    """Return patches of images, flat, about a mean of 0 and of norm 1."""
    rng = np.random.default_rng(seed)
    windows = sliding_window_view(rows.reshape(-1, SIDE, SIDE), (_PATCH, _PATCH), axis=(1, 2))
    # far more than wanted, as most of an image is plain ground
    drawn = windows[tuple(rng.integers(0, size, 20 * count) for size in windows.shape[:3])]
    patches = drawn.reshape(len(drawn), -1) - drawn.mean(axis=(1, 2))[:, None]
    sizes = np.linalg.norm(patches, axis=1)
    good = np.flatnonzero(sizes > _LEAST_CONTRAST)[:count]
    return np.asarray(patches[good] / sizes[good, None], np.float32)


def _fit_least_squares(
    values: Floats, digits: NDArray[np.int64], *, penalty: float = 1.0
) -> tuple[Floats, Floats]:
    from sklearn.linear_model import RidgeClassifier

    fitted = RidgeClassifier(penalty).fit(values, digits)
    weights, offsets = _SHARPNESS * fitted.coef_.T, _SHARPNESS * fitted.intercept_
    return weights.astype(np.float32), offsets.astype(np.float32)


def _build_network(patches: Floats, layers: list[tuple[Floats, Floats]]) -> bytes:
    """Return the file of a network that gives probabilities; the matches, if it has no layers."""
    from onnx import TensorProto, checker, helper, numpy_helper

    node, count = helper.make_node, len(patches)
    tensors = {
        "shape": np.array([-1, 1, SIDE, SIDE]),
        "patches": patches.reshape(count, 1, _PATCH, _PATCH),
        "thresholds": np.full(count, -_THRESHOLD, np.float32),
    }
    nodes = [
        node("Reshape", ["input", "shape"], ["frames"]),
        node("Conv", ["frames", "patches", "thresholds"], ["compared"]),
        node("Relu", ["compared"], ["likeness"]),
        node("GlobalMaxPool", ["likeness"], ["best"]),
        node("Flatten", ["best"], ["values0"]),
    ]
    for number, (weights, offsets) in enumerate(layers):
        names = f"weights{number}", f"offsets{number}"
        tensors |= dict(zip(names, (weights, offsets), strict=True))
        nodes += [
            node("Gemm", [f"values{number}", *names], [f"scores{number}"]),
            node("Relu", [f"scores{number}"], [f"values{number + 1}"]),
        ]
    outputs: dict[str, tuple[int, list[str | int]]]
    outputs = {"values0": (TensorProto.FLOAT, ["n", count])}
    if layers:
        nodes[-1:] = [  # of the last scores probabilities are made instead
            node("Softmax", [f"scores{len(layers) - 1}"], ["probabilities"], axis=1),
            node("ArgMax", ["probabilities"], ["label"], axis=1, keepdims=0),
        ]
        outputs = {
            "probabilities": (TensorProto.FLOAT, ["n", layers[-1][0].shape[1]]),
            "label": (TensorProto.INT64, ["n"]),
        }
    graph = helper.make_graph(
        nodes,
        "patches",
        [helper.make_tensor_value_info("input", TensorProto.FLOAT, ["n", SIDE * SIDE])],
        [helper.make_tensor_value_info(name, kind, row) for name, (kind, row) in outputs.items()],
        [numpy_helper.from_array(value, name) for name, value in tensors.items()],
    )
    made = helper.make_model(
        graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8, producer_name="workbench"
    )
    checker.check_model(made)
    return bytes(made.SerializeToString())
