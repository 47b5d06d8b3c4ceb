"""How far two results may lie apart that a law calls equal, and why.

A tolerance is widened only together with the sentence that explains it.
"""

from typing import NamedTuple

import numpy as np


class Tolerance(NamedTuple):
    """`|actual - expected| <= atol + rtol * |expected|`."""

    rtol: float
    atol: float


# Float32 sums of up to a few hundred terms in another order: a few units of 2**-23
# relative to terms of about 1, and some layers through which they grow.
_REORDERED = Tolerance(rtol=1e-5, atol=2e-5)

TOLERANCES = {
    # The same arithmetic on the same numbers.
    "identical": Tolerance(0.0, 0.0),
    # One pass against token by token: products of another number of rows, and softmax
    # sums over slots in another order.
    "cached": _REORDERED,
    # Chunks of any length: as above.
    "chunked": _REORDERED,
    # Another number of rows in each product, and masked slots between the real ones.
    "batched": _REORDERED,
    # The ring holds its keys in another order than the full pass.
    "ring": _REORDERED,
    # Padding adds terms that are exactly zero, but moves the others.
    "padding": _REORDERED,
    # Angles computed by XLA when it compiles or when it runs, and other angles whose
    # differences are the same: their cosines differ in the last bits.
    "positions": _REORDERED,
    # Weights of 16 bits, widened by a kernel or before: the same numbers, and sums in
    # another order, which seven layers make a little larger.
    "narrow": Tolerance(rtol=1e-5, atol=5e-5),
    # Softmax in blocks: sums that are scaled and merged, instead of one.
    "blockwise": Tolerance(rtol=1e-5, atol=5e-6),
    # A formula against the same formula in numpy, in float64.
    "formula": Tolerance(rtol=1e-5, atol=1e-6),
    # log_softmax against a logsumexp over logits from another pass.
    "logprobs": _REORDERED,
    # Two libraries, both float32: other kernels for exp, tanh and cos, whose last bits
    # differ, through up to seven layers.
    "parity": Tolerance(rtol=1e-4, atol=1e-4),
    # The same through 18 layers of width 640 and logits of up to 30.
    "parity_embedded": Tolerance(rtol=1e-4, atol=2e-3),
}


def assert_close(actual, expected, *, law: str) -> None:
    """Asserts that two trees of one array are equal as far as the law demands."""
    rtol, atol = TOLERANCES[law]
    actual, expected = np.asarray(actual), np.asarray(expected)
    assert actual.shape == expected.shape
    assert np.isfinite(expected).all(), "a comparison with NaN or infinity is empty"
    np.testing.assert_allclose(
        actual.astype(np.float64), expected.astype(np.float64), rtol=rtol, atol=atol
    )
