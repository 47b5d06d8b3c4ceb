"""The layout of packed weights; weight.h says why it is so.

A weight is one array of bytes, a row of it a tile: first the values, then their scales,
then the scales of these.

Axes: N rows (outputs), T tiles of 16 rows, G groups of 32 columns, S groups of 256,
P vectors of 64 bytes to a tile and group: 16 rows of 4 bytes.
"""

import enum
import math
from typing import Any, NamedTuple

import numpy as np

TILE, GROUP, SUPER = 16, 32, 8
LINE = 64  # bytes of a cache line
STEPS = 8  # of four columns to a group


class ScaleKind(enum.IntEnum):
    """How the scales of a weight are stored; the numbers are those of the C++."""

    HALF = 0  # a float16 a group
    SUPER = 1  # a float16 by 8 groups times a uint8 a group; and so for the minimum
    SUPER16 = 2  # a float16 by 8 groups times two int8 a group, for 16 columns each
    HALF_MINIMUM = 3  # a float16 a group for the scale and one for the minimum


class Code(enum.IntEnum):
    """What the bits of a value mean; the numbers are those of the C++."""

    INTEGER = 0  # q itself
    NORMAL = 1  # the index of one of `NORMAL_LEVELS`, which is q


# The levels of nf4 in steps of 1/127, plus 128. They suit weights that are distributed
# normally (Dettmers et al. 2023, "QLoRA", appendix E).
NORMAL_LEVELS = np.array(
    [1, 40, 61, 78, 92, 105, 116, 128, 138, 148, 159, 171, 184, 199, 220, 255], np.uint8
)


class PackedKind(NamedTuple):
    """One way to pack: `value = scale * (q - zero) - minimum`.

    Attributes:
      bits: Of a value: 4, 5, 6 or 8.
      scale: How scales are stored.
      zero: The q of zero, where there is no minimum.
      code: What the bits mean.
    """

    bits: int
    scale: ScaleKind
    zero: int
    code: Code = Code.INTEGER

    @property
    def has_supers(self) -> bool:
        """Whether there are scales of scales."""
        return self.scale in (ScaleKind.SUPER, ScaleKind.SUPER16)

    @property
    def numbers(self) -> tuple[int, int, int, int]:
        """The kind as the C++ takes it."""
        return self.bits, int(self.scale), self.zero, int(self.code)


class TileLayout(NamedTuple):
    """The parts of a tile, in their order: the shape of each, in bytes."""

    values: tuple[int, int]  # [G, 64 P]
    scales: tuple[int, int]  # [G, 32], or 64 with a minimum in float16
    supers: tuple[int, int]  # [S, 64]; S is 0 where scales stand alone

    @property
    def num_bytes(self) -> int:
        """Bytes of a tile, with what fills up its last cache line."""
        return math.ceil(sum(map(math.prod, self)) / LINE) * LINE

    def split(self, tiles: Any) -> tuple[Any, Any, Any]:
        """Returns the parts of an array of tiles, [T, bytes], each [T, *shape]."""
        begin, parts = 0, []
        for shape in self:
            end = begin + math.prod(shape)
            parts.append(tiles[:, begin:end].reshape(len(tiles), *shape))
            begin = end
        return tuple(parts)  # pyright: ignore[reportReturnType]


def tile_layout(kind: PackedKind, num_columns: int) -> TileLayout:
    """Returns where the parts of the tiles of a weight are."""
    groups = math.ceil(num_columns / GROUP)
    return TileLayout(
        values=(groups, TILE * GROUP * kind.bits // 8),
        scales=(groups, 64 if kind.scale is ScaleKind.HALF_MINIMUM else 32),
        supers=(math.ceil(groups / SUPER) if kind.has_supers else 0, 64),
    )


def packed_shape(kind: PackedKind, num_rows: int, num_columns: int) -> tuple[int, int]:
    """Returns the shape of a packed weight."""
    return math.ceil(num_rows / TILE), tile_layout(kind, num_columns).num_bytes


def pack(
    kind: PackedKind,
    q: np.ndarray,
    scales: np.ndarray,
    supers: np.ndarray | None = None,
) -> np.ndarray:
    """Returns a weight as the kernels read it: uint8 [T, bytes].

    Args:
      kind: The way to pack.
      q: uint8 [N, columns]; indices of levels if the kind has levels.
      scales: float16 [N, G], or [N, G, 2] of scale and minimum, or bytes [N, G, 2] of
        scale and minimum or of two scales.
      supers: float16 [N, S, 2], of scale and minimum.
    """
    q = np.pad(q, ((0, -q.shape[0] % TILE), (0, -q.shape[1] % GROUP)))
    tiles, groups = q.shape[0] // TILE, q.shape[1] // GROUP
    steps = q.reshape(tiles, TILE, groups, STEPS, 4).transpose(0, 2, 3, 1, 4)
    steps = steps.reshape(tiles, groups, STEPS, 64)
    if kind.bits == 8:
        values = steps
    else:
        values = np.concatenate(
            [_nibbles(steps & 0x0F), *_planes(kind.bits - 4, steps >> 4)], axis=2
        )
    if supers is None:
        supers = np.zeros([len(scales), 0, 2], np.float16)
    out = np.zeros(packed_shape(kind, len(scales), groups * GROUP), np.uint8)
    places = tile_layout(kind, groups * GROUP).split(out)
    lanes = _lanes(scales.reshape(len(scales), groups, -1)), _lanes(supers)
    for place, part in zip(places, (values, *lanes), strict=True):
        place[:] = part.reshape(place.shape)
    return out


def _nibbles(steps: np.ndarray) -> np.ndarray:
    """Returns the values below 16 of eight steps, two to a byte."""
    return steps[:, :, 0::2] | steps[:, :, 1::2] << 4


def _planes(num_bits: int, steps: np.ndarray) -> list[np.ndarray]:
    """Returns the bits beyond four of eight steps, those of several in a byte."""
    planes, steps_a_plane = [], STEPS // max(1, num_bits)
    for begin in range(0, STEPS * (num_bits > 0), steps_a_plane):
        plane = np.zeros_like(steps[:, :, :1])
        for i in range(steps_a_plane):
            plane |= steps[:, :, begin + i : begin + i + 1] << (num_bits * i)
        planes.append(plane)
    return planes


def _lanes(rows: np.ndarray) -> np.ndarray:
    """Returns [N, X, Y] as [T, X, Y, 16], in bytes."""
    padded = np.pad(rows, ((0, -len(rows) % TILE), (0, 0), (0, 0)))
    tiles = len(padded) // TILE
    lanes = padded.reshape(tiles, TILE, *rows.shape[1:]).transpose(0, 2, 3, 1)
    return np.ascontiguousarray(lanes).view(np.uint8)
