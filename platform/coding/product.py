"""Sums of products in about one and a half times the digits of float64, rounded once at the end.

Numbers are parted into high digits, whose products add up without any rounding, and the rest, whose
roundings are a millionth of those of a plain product (Ozaki, Ogita, Oishi and Rump 2012, sec. 3).
It takes two or three plain products: a third of the time of sums in np.longdouble, and less for
several sums of the same rows.
"""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Extended = NDArray[np.longdouble]

DIGITS = np.finfo(np.float64).nmant + 1
UNIT_ROUNDOFF = float(np.finfo(np.float64).eps) / 2
PART = 2**16
"""So many numbers are looked at together."""


def product(weights: Extended, rows: Floats) -> Floats:
    """`weights` [K, R] times `rows` [R, P]: [K, P]. All are finite, the largest of them from 1e-290
    to 1e290.
    """
    bits = high_bits(len(rows))
    high = high_part(weights.astype(np.float64), abs(weights).max(axis=1, keepdims=True), bits)
    rest = (weights - high).astype(np.float64)
    rows_high = high_part(rows, max(rows.max(), -rows.min()), bits)
    low = high @ (rows - rows_high)
    if rest.any():
        low += rest @ rows
    low += high @ rows_high
    return low


def in_parts(rows: Sequence[NDArray[Any]]) -> Iterator[tuple[slice, Floats]]:
    """Some columns after the other of long rows, few enough to stay in the cache."""
    columns = max(1, PART // len(rows))
    for start in range(0, len(rows[0]), columns):
        part = slice(start, start + columns)
        yield part, np.stack([row[part] for row in rows], dtype=np.float64)


def high_bits(terms: int) -> int:
    """So many binary digits of two factors each that so many products are summed exactly."""
    return (DIGITS - (terms - 1).bit_length()) // 2


def high_part(numbers: Floats, largest: Any, bits: int) -> Floats:
    """Rounded to multiples of the power of two that is over `largest`, divided by 2 ** bits."""
    _, exponent = np.frexp(largest)
    shift = np.ldexp(1.5, exponent - bits + DIGITS - 1)  # float64 keeps no more of a sum with it
    made: Floats = numbers + shift
    made -= shift
    return made


def left_over(weights: Extended, rows: Floats, wanted: Floats) -> Floats:
    """`wanted - weights @ rows` [K, M], rounded once: see `left_over_error`."""
    return product(np.hstack([-weights, np.eye(len(weights))]), np.vstack([rows, wanted]))


def left_over_error(weights: Extended, rows: Floats, wanted: Floats) -> Extended:
    """How far the sum of a row of `left_over` may be off before its last rounding [K]."""
    count, columns = rows.shape
    sizes = np.maximum(abs(weights).max(axis=1), 1)
    most = max(abs(rows).max(), abs(wanted).max())
    error: Extended = product_error(count + len(weights)) * columns * most * sizes
    return error


def product_error(terms: int) -> float:
    """How far `product` may be off before its last rounding, relative to the largest weight of a
    row times the largest number.

    Either rest is at most 2 ** -bits of those; gamma_n of Higham (2002, section 3.1) for the sums
    of both products, for adding them up and for rounding the weights' rest.
    """
    return gamma(terms + 2) * terms * 2.0 ** (2 - high_bits(terms))


def gamma(roundings: int) -> float:
    """The relative error of so many roundings in a row: n u / (1 - n u)."""
    return roundings * UNIT_ROUNDOFF / (1 - roundings * UNIT_ROUNDOFF)
