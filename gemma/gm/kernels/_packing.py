"""The layout of packed weights; quantized_matmul.h says why it is so.

Axes: N rows (outputs), T tiles of 16 rows, G groups of 32 columns, S groups of 256,
P vectors of 64 bytes to a tile and group: 16 rows of 4 bytes.
"""

import enum
import math
from typing import NamedTuple

import numpy as np

TILE, GROUP, SUPER = 16, 32, 8
STEPS = 8  # of four columns to a group


class ScaleKind(enum.IntEnum):
    """How the scales of a weight are stored; the numbers are those of the C++."""

    HALF = 0  # a float16 a group
    SUPER = 1  # a float16 by 8 groups times a uint8 a group; and so for the minimum
    SUPER16 = 2  # a float16 by 8 groups times two int8 a group, for 16 columns each


class PackedKind(NamedTuple):
    """One way to pack: `value = scale * (q - zero) - minimum`.

    Attributes:
      bits: Of a q: 4, 5, 6 or 8.
      scale: How scales are stored.
      zero: The q of zero, where there is no minimum.
    """

    bits: int
    scale: ScaleKind
    zero: int


class Packed(NamedTuple):
    """The arrays of a packed weight, all bytes."""

    values: np.ndarray  # [T, G, 64 P]
    scales: np.ndarray  # [T, G, 32]
    supers: np.ndarray  # [T, S, 64]; S is 0 where scales stand alone


def packed_shapes(
    kind: PackedKind, num_rows: int, num_columns: int
) -> tuple[tuple[int, ...], ...]:
    """Returns the shapes of the arrays of `Packed`."""
    tiles = math.ceil(num_rows / TILE)
    groups = math.ceil(num_columns / GROUP)
    supers = 0 if kind.scale is ScaleKind.HALF else math.ceil(groups / SUPER)
    value_bytes = TILE * GROUP * kind.bits // 8
    return (tiles, groups, value_bytes), (tiles, groups, 32), (tiles, supers, 64)


def pack(
    kind: PackedKind,
    q: np.ndarray,
    scales: np.ndarray,
    supers: np.ndarray | None = None,
) -> Packed:
    """Returns the arrays that the kernels read.

    Args:
      kind: The way to pack.
      q: uint8 [N, columns].
      scales: float16 [N, G], or bytes [N, G, 2]: scale and minimum, or two scales.
      supers: float16 [N, S, 2], of scale and minimum.
    """
    q = np.pad(q, ((0, -q.shape[0] % TILE), (0, -q.shape[1] % GROUP)))
    tiles, groups = q.shape[0] // TILE, q.shape[1] // GROUP
    steps = q.reshape(tiles, TILE, groups, STEPS, 4).transpose(0, 2, 3, 1, 4)
    steps = steps.reshape(tiles, groups, STEPS, 64)
    planes = [steps] if kind.bits == 8 else _planes(kind, steps)
    if kind.scale is ScaleKind.HALF:
        scales = np.ascontiguousarray(scales, np.float16).view(np.uint8)
    scales = np.ascontiguousarray(scales).view(np.uint8)
    if supers is None:
        lanes = np.zeros([tiles, 0, 64], np.uint8)
    else:
        lanes = np.ascontiguousarray(_lanes(supers)).view(np.uint8)
    return Packed(
        values=np.concatenate(planes, axis=2).reshape(tiles, groups, -1),
        scales=_scale_lanes(kind, scales.reshape(scales.shape[0], groups, 2)),
        supers=lanes.reshape(tiles, -1, 64),
    )


def _planes(kind: PackedKind, steps: np.ndarray) -> list[np.ndarray]:
    """Splits the values of eight steps into nibbles and the bits beyond them."""
    low, high = steps & 0x0F, steps >> 4
    planes = [low[:, :, 0::2] | low[:, :, 1::2] << 4]
    extra = kind.bits - 4
    if extra:
        steps_a_plane = STEPS // extra
        for begin in range(0, STEPS, steps_a_plane):
            plane = np.zeros_like(high[:, :, :1])
            for i in range(steps_a_plane):
                plane |= high[:, :, begin + i : begin + i + 1] << (extra * i)
            planes.append(plane)
    return planes


def _lanes(rows: np.ndarray) -> np.ndarray:
    """Returns [N, X, Y] as [T, X, Y, 16]."""
    padded = np.pad(rows, ((0, -len(rows) % TILE), (0, 0), (0, 0)))
    return padded.reshape(-1, TILE, *rows.shape[1:]).transpose(0, 2, 3, 1)


def _scale_lanes(kind: PackedKind, scales: np.ndarray) -> np.ndarray:
    """Returns the two bytes [N, G, 2] of each group as [T, G, 32]."""
    lanes = _lanes(scales)
    if kind.scale is ScaleKind.HALF:
        lanes = lanes.transpose(0, 1, 3, 2)  # the bytes of a float stay together
    return np.ascontiguousarray(lanes).reshape(len(lanes), -1, 32)
