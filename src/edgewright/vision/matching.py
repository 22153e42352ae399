"""Which box goes with which: overlaps of all pairs, and the one-to-one matching that costs least.

R. Jonker, A. Volgenant, "A shortest augmenting path algorithm for dense and sparse linear assignment problems", Computing 38 (1987), in
the form for rectangular matrices of D. F. Crouse, "On implementing 2D rectangular assignment algorithms", IEEE TAES 52 (2016): rows join
one by one, each along the cheapest path of reassignments, found as Dijkstra does on costs that prices keep from being negative.
"""

from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

AnyBoxes: TypeAlias = NDArray[np.floating[Any]]  # N x 4, x1 y1 x2 y2
Matrix: TypeAlias = NDArray[np.float64]
Indices: TypeAlias = NDArray[np.int64]

NOBODY = -1


def iou(a: AnyBoxes, b: AnyBoxes) -> Matrix:
    """Overlap of every box of `a` with every one of `b`, [A, B], 0..1; 0 where a box has no area."""
    wide_a, wide_b = a.astype(np.float64, copy=False), b.astype(np.float64, copy=False)
    corner = np.maximum(wide_a[:, None, :2], wide_b[None, :, :2])
    shared = np.clip(np.minimum(wide_a[:, None, 2:], wide_b[None, :, 2:]) - corner, 0, None).prod(axis=2)
    area_a, area_b = ((boxes[:, 2:] - boxes[:, :2]).clip(0).prod(axis=1) for boxes in (wide_a, wide_b))
    union = area_a[:, None] + area_b[None, :] - shared
    overlap: Matrix = np.divide(shared, union, out=np.zeros_like(shared), where=union > 0)
    return overlap


def assign(costs: Matrix, *, below: float) -> tuple[Indices, Indices]:
    """Rows and columns of the pairs that save most together, rows ascending; no row and no column twice.

    `costs`: [A, B]; what is infinite or no number is never paired. A pair saves `below - cost`, so none that costs `below` (finite)
    or more is made, and a dear pair gives way to two cheap ones. The same input always gives the same pairs.
    """
    worth = np.isfinite(costs) & (costs < below)
    savings = np.where(worth, costs - below, 0.0)
    rows, columns = np.flatnonzero(worth.any(axis=1)), np.flatnonzero(worth.any(axis=0))
    left = savings[np.ix_(rows, columns)]
    if len(rows) <= len(columns):
        columns = columns[least_sum(left)]
    else:
        rows = rows[least_sum(left.T)]
        order = np.argsort(rows)
        rows, columns = rows[order], columns[order]
    kept = worth[rows, columns]
    return rows[kept], columns[kept]


def least_sum(costs: Matrix) -> Indices:
    """The column of every row, all different, with the least sum of costs; finite, and no more rows than columns."""
    matching = _Matching(costs)
    for row in matching.begin():
        matching.join(row)
    return matching.column_of


class _Matching:
    """Rows that have columns, and the prices that prove it cheapest: cost less both prices is 0 on its pairs, nowhere negative."""

    def __init__(self, costs: Matrix) -> None:
        rows, columns = costs.shape
        self.column_of, self._row_of = np.full(rows, NOBODY), np.full(columns, NOBODY)
        self._costs, self._row_price, self._column_price = costs, np.zeros(rows), np.zeros(columns)

    def begin(self) -> list[int]:
        """Every row takes its cheapest column, if none before it has; the rows that are left over."""
        if not self._costs.size:
            return []
        self._row_price = self._costs.min(axis=1)
        columns, rows = np.unique(self._costs.argmin(axis=1), return_index=True)
        self.column_of[rows], self._row_of[columns] = columns, rows
        return np.flatnonzero(self.column_of == NOBODY).tolist()

    def join(self, row: int) -> None:
        """One row more: it takes a column whose row takes another, and so on to a free one, by what is cheapest in all."""
        wide = len(self._row_of)
        far, done, previous = np.full(wide, np.inf), np.zeros(wide, bool), np.full(wide, NOBODY)
        at, reached, column = row, 0.0, NOBODY
        while at != NOBODY:
            through = self._costs[at] - self._column_price + (reached - self._row_price[at])
            nearer = ~done & (through < far)
            far[nearer], previous[nearer] = through[nearer], at
            column = int(np.where(done, np.inf, far).argmin())
            reached, done[column] = float(far[column]), True
            at = int(self._row_of[column])
        self._reprice(row, done, far, reached)
        while at != row:
            at = int(previous[column])
            self._row_of[column] = at
            column, self.column_of[at] = int(self.column_of[at]), column

    def _reprice(self, row: int, done: NDArray[np.bool_], far: Matrix, reached: float) -> None:
        """Prices that hold for the matching as it will be."""
        passed = np.flatnonzero(done & (self._row_of != NOBODY))
        self._column_price[passed] -= reached - far[passed]
        self._row_price[self._row_of[passed]] += reached - far[passed]
        self._row_price[row] += reached
