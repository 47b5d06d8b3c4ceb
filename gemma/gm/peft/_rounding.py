"""Rows of numbers as a few bits each, with a scale for every 32 of them.

Axes: N rows, K columns in whole groups, G groups of 32 columns, C the columns of a
group, M = N * G groups in all, S runs of 8 groups.
"""

from typing import NamedTuple

import numpy as np

from gemma.gm.kernels import GROUP, NORMAL_LEVELS, SUPER

_LARGEST_HALF = 65504.0
_SMALLEST = np.finfo(np.float32).tiny

# How many steps a group spans in each attempt to fit it; 15 reach from its smallest to
# its largest value, and more cut off the ends for finer steps in the middle. Eight times
# as many attempts find 2 % less error on normal numbers.
_SPANS = (13.5, 14.25, 15.0, 15.75, 16.5)


class Rounded(NamedTuple):
    """What `kernels.pack` takes, besides the kind."""

    q: np.ndarray  # uint8 [N, K]
    scales: np.ndarray  # float16 [N, G], or uint8 [N, G, 2] of scale and minimum
    supers: np.ndarray | None = None  # float16 [N, S, 2] of scale and minimum


def round_to_int8(x_NK: np.ndarray) -> Rounded:
    """Returns the nearest of 255 even steps from minus to plus the largest magnitude.

    `value = scale * (q - 128)`. Rounded values round to themselves, but in groups below
    a thousandth, where float16 has few scales left.
    """
    steps_NGC, scales_NG = _in_steps(x_NK)
    q = np.clip(np.rint(steps_NGC), -127, 127) + np.float32(128)
    return Rounded(q.astype(np.uint8).reshape(x_NK.shape), scales_NG)


def round_to_nf4(x_NK: np.ndarray) -> Rounded:
    """Returns the nearest of 16 levels that are dense where normal numbers are.

    `value = scale * (NORMAL_LEVELS[q] - 128)`. Rounded values round to themselves.
    """
    steps_NGC, scales_NG = _in_steps(x_NK)
    halves = np.clip(np.floor(2 * steps_NGC), -256, 255).astype(np.int16)
    return Rounded(_NEAREST_LEVEL[halves + 256].reshape(x_NK.shape), scales_NG)


def _nearest_levels() -> np.ndarray:
    """Returns the index of the level nearest to each half step from -128 to 128.

    Halfway between two levels is a whole number of half steps, so none of them begins
    nearer to one level and ends nearer to another.
    """
    middles = np.arange(-256, 256) / 2 + 0.25
    distances = np.abs(middles[:, None] - (NORMAL_LEVELS.astype(np.float64) - 128))
    return distances.argmin(1).astype(np.uint8)


_NEAREST_LEVEL = _nearest_levels()


def round_to_int4(x_NK: np.ndarray) -> Rounded:
    """Returns one of 16 even steps between two ends that suit each group.

    `value = scale * q - minimum`, where `scale = super[0] * scales[0]` and `minimum =
    super[1] * scales[1] >= 0`. The ends are fitted, then rounded, and q is chosen last.
    """
    num_rows, num_columns = x_NK.shape
    x_CM = np.ascontiguousarray(x_NK.reshape(-1, GROUP).T)
    fitted = (row.reshape(num_rows, -1) for row in _fit(x_CM))
    (scale_NG, scale_factors, scale_super), (minimum_NG, factors, super_) = map(
        _with_super, fitted
    )
    steps_CM = (x_CM + minimum_NG.reshape(-1)) * _inverse(scale_NG.reshape(-1))
    q_CM = np.clip(np.rint(steps_CM), 0, 15).astype(np.uint8)
    return Rounded(
        q_CM.T.reshape(num_rows, num_columns),
        np.stack([scale_factors, factors], axis=-1),
        np.stack([scale_super, super_], axis=-1),
    )


def _in_steps(x_NK: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Returns numbers by group in steps of 1/127 of the largest, and the steps' size.

    The size is rounded first: to the rounded one the steps must fit.
    """
    x_NGC = x_NK.reshape(len(x_NK), -1, GROUP)
    sizes = np.maximum(x_NGC.max(-1), -x_NGC.min(-1)) / np.float32(127)
    scales_NG = np.minimum(sizes, _LARGEST_HALF).astype(np.float16)
    return x_NGC * _inverse(scales_NG.astype(np.float32))[..., None], scales_NG


def _fit(x_CM: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Returns scales and minima [M] of a small weighted error in each group.

    For each attempt at q the best scale and minimum follow from two linear equations;
    the attempt of the least error wins. Errors of large values count more, as in ggml:
    on Gemma 3 270M logits then stay nearer than with equal weights or squares.
    """
    # In units of the largest magnitude: products of four values must not overflow.
    unit = np.maximum(x_CM.max(0), -x_CM.min(0))
    x_CM = x_CM * _inverse(unit)
    low = np.minimum(x_CM.min(0), 0)
    width = x_CM.max(0) - low
    per_width = _inverse(width)
    weights = np.abs(x_CM) + np.sqrt(np.square(x_CM).mean(0))
    weighted = weights * x_CM
    sums = _Sums(weights.sum(0), weighted.sum(0))
    # Equal values: no width, and the minimum says it all.
    best_scale, best_minimum = np.zeros_like(low), -low
    best_error = np.full_like(low, np.inf)
    for span in _SPANS:
        q = np.clip(np.rint((x_CM - low) * (np.float32(span) * per_width)), 0, 15)
        scale, minimum, error = _solve(q, weights, weighted, sums)
        better = (error < best_error) & (width > 0)
        best_scale = np.where(better, scale, best_scale)
        best_minimum = np.where(better, minimum, best_minimum)
        best_error = np.where(better, error, best_error)
    return best_scale * unit, best_minimum * unit


class _Sums(NamedTuple):
    """Sums over a group, [M]: of the weights, and of the weighted values."""

    w: np.ndarray
    wx: np.ndarray


def _solve(
    q_CM: np.ndarray, weights: np.ndarray, weighted: np.ndarray, sums: _Sums
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Returns scale and minimum that fit `q` best, and their error up to a constant.

    The error is `sum w (scale q - minimum - x)^2`. The minimum may not be negative: where
    it would be, or q does not determine it, it is 0 and the scale the best without one.
    """
    wq_CM = weights * q_CM
    wq, wqq, wqx = wq_CM.sum(0), (wq_CM * q_CM).sum(0), (weighted * q_CM).sum(0)
    determinant = sums.w * wqq - wq * wq
    scale = (sums.w * wqx - sums.wx * wq) * _inverse(determinant)
    minimum = (wq * wqx - wqq * sums.wx) * _inverse(determinant)
    # All q equal make it zero, but for rounding.
    alone = (minimum < 0) | (determinant <= 1e-5 * sums.w * wqq)
    scale = np.where(alone, wqx * _inverse(wqq), scale)
    minimum = np.where(alone, 0, minimum)
    error = scale * (scale * wqq - 2 * minimum * wq - 2 * wqx)
    error += minimum * (minimum * sums.w + 2 * sums.wx)
    return scale, minimum, np.where(scale > 0, error, np.inf)


def _with_super(
    x_NG: np.ndarray,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Returns numbers as `super * factor`: rounded, the factors, and the supers [N, S].

    Supers are rounded up, so that no factor passes 255.
    """
    groups = x_NG.shape[1]
    x_NS8 = np.pad(x_NG, ((0, 0), (0, -groups % SUPER)))
    x_NS8 = x_NS8.reshape(len(x_NG), -1, SUPER)
    supers = np.minimum(x_NS8.max(-1) / np.float32(255), _LARGEST_HALF)
    halves = supers.astype(np.float16)
    above = np.nextafter(halves, np.float16(_LARGEST_HALF))
    halves = np.where(halves.astype(np.float32) < supers, above, halves)
    wide = halves.astype(np.float32)[..., None]
    factors = np.minimum(np.rint(x_NS8 * _inverse(wide)), 255)
    rounded = (wide * factors).reshape(len(x_NG), -1)[:, :groups]
    factors = factors.astype(np.uint8).reshape(len(x_NG), -1)[:, :groups]
    return rounded, factors, halves


def _inverse(x: np.ndarray) -> np.ndarray:
    """Returns 1/x, and 0 for what is too small to have one, or below 0."""
    return np.divide(1, x, out=np.zeros_like(x), where=x > _SMALLEST)
