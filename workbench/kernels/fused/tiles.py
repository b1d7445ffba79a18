"""How a matrix of rows is cut into tiles, one per program, and how many warps work on one."""

from typing import NamedTuple

import triton

__all__ = ["Tile", "tile"]


class Tile(NamedTuple):
    """Rows and columns of a tile, both powers of two, whether one tile spans the columns, and warps."""

    rows: int
    columns: int
    whole: bool
    warps: int


def tile(rows: int, columns: int, *, most: int, elements: int) -> Tile:
    """The tile for (rows, columns): whole rows up to `most` columns, else pieces; about `elements` elements in all."""
    wide = triton.next_power_of_2(max(1, columns))
    width = wide if wide <= most else min(elements, wide)
    height = max(1, min(elements // width, triton.next_power_of_2(max(1, rows)), 32))
    return Tile(height, width, wide <= most, max(1, min(16, height * width // 512)))
