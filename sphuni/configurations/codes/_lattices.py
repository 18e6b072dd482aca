"""Kissing configurations of lattices and the codes derived from them.

Everything is integer arithmetic up to one float64 step: a rotation of the derived codes onto
the subspace they span.
"""

import itertools
import math

import numpy as np
from numpy.typing import NDArray

from sphuni.configurations.codes._polytopes import signs

_Integers = NDArray[np.int64]

# Coefficients of 1 + x^2 + x^4 + x^5 + x^6 + x^10 + x^11, which generates the binary Golay code.
_GOLAY_GENERATOR = (1, 0, 1, 0, 1, 1, 1, 0, 0, 0, 1, 1)
_FANO_LINES = ((0, 1, 3), (1, 2, 4), (2, 3, 5), (3, 4, 6), (4, 5, 0), (5, 6, 1), (6, 0, 2))


def e8_roots() -> NDArray[np.float64]:
    """List the roots: 112 of shape (+-1, +-1, 0^6), 128 of (+-1/2)^8 with evenly many minus."""
    pairs = _two_entries(8, 2)
    halves = signs(8)[signs(8).prod(axis=1) > 0]
    return np.concatenate([pairs, halves]) / math.sqrt(8.0)


def k56() -> NDArray[np.float64]:
    """List the signed incidence vectors of the seven lines of the Fano plane."""
    return _fano_vectors() / math.sqrt(3.0)


def schlafli_27() -> NDArray[np.float64]:
    """Take the 27 points of K56 at inner product 1/3 with one of them, seen from it."""
    vectors = _fano_vectors()
    centre = vectors[0]
    return _project_away(vectors[vectors @ centre == 1], centre[None])


def hemicube_16() -> NDArray[np.float64]:
    """Take every second vertex of the cube in five dimensions."""
    vertices = signs(5)
    half = vertices[vertices.prod(axis=1) > 0]
    return np.asarray(half / math.sqrt(5.0))


def leech_196560() -> NDArray[np.float64]:
    """List the minimal vectors of the Leech lattice."""
    return _leech_vectors() / math.sqrt(32.0)


def code_4600() -> NDArray[np.float64]:
    """Take the Leech vectors at 60 degrees from one of them."""
    leech = _leech_vectors()
    return _derived(leech, [(leech[0], 16)])


def code_891() -> NDArray[np.float64]:
    """Take the Leech vectors at 60 degrees from two of them that are 60 degrees apart."""
    leech = _leech_vectors()
    first = leech[0]
    second = leech[leech @ first == 16][0]
    return _derived(leech, [(first, 16), (second, 16)])


def code_552() -> NDArray[np.float64]:
    """Take the Leech vectors nearest to a vector of type 3."""
    return _derived(_leech_vectors(), [(_type_3_vector(), 24)])


def mclaughlin_275() -> NDArray[np.float64]:
    """Take the points of the 552 at inner product 1/5 with one of them."""
    leech = _leech_vectors()
    return _derived(leech, _type_3_flag(leech))


def code_162() -> NDArray[np.float64]:
    """Take the points of the 275 at inner product 1/6 with one of them."""
    return _inside_275(16)


def code_112() -> NDArray[np.float64]:
    """Take the points of the 275 at inner product -1/4 with one of them."""
    return _inside_275(8)


def higman_sims_100() -> NDArray[np.float64]:
    """Take the Leech vectors opposite to a vector of type 3 and to a minimal vector beside it."""
    leech = _leech_vectors()
    far = _type_3_vector()
    beside = leech[leech @ far == 16][0]
    return _derived(leech, [(far, -24), (beside, -16)])


def _inside_275(product: int) -> NDArray[np.float64]:
    leech = _leech_vectors()
    flag = _type_3_flag(leech)
    third = _select(leech, flag)[0]
    return _derived(leech, [*flag, (third, product)])


def _type_3_vector() -> _Integers:
    """Return a Leech lattice vector of squared length 48, where minimal vectors have 32."""
    vector = np.ones(24, dtype=np.int64)
    vector[0] = 5
    return vector


def _type_3_flag(leech: _Integers) -> list[tuple[_Integers, int]]:
    """Return the conditions that cut the 275 out of the minimal vectors."""
    far = _type_3_vector()
    return [(far, 24), (leech[leech @ far == 24][0], 16)]


def _select(vectors: _Integers, conditions: list[tuple[_Integers, int]]) -> _Integers:
    for centre, product in conditions:
        vectors = vectors[vectors @ centre == product]
    return vectors


def _derived(vectors: _Integers, conditions: list[tuple[_Integers, int]]) -> NDArray[np.float64]:
    """Return unit vectors along the chosen vectors' parts orthogonal to every centre."""
    centres = np.array([centre for centre, _ in conditions])
    return _project_away(_select(vectors, conditions), centres)


def _project_away(vectors: _Integers, centres: _Integers) -> NDArray[np.float64]:
    """Return unit rows of the parts orthogonal to `centres`, in a basis of that subspace."""
    basis = np.linalg.qr(centres.T.astype(np.float64), mode="complete").Q[:, len(centres) :]
    parts = vectors @ basis
    unit: NDArray[np.float64] = parts / np.linalg.norm(parts, axis=1, keepdims=True)
    return unit


def _fano_vectors() -> _Integers:
    vectors = np.zeros((7, 8, 7), dtype=np.int64)
    for block, line in zip(vectors, _FANO_LINES, strict=True):
        block[:, line] = signs(3)
    return vectors.reshape(56, 7)


def _two_entries(length: int, size: int) -> _Integers:
    """List all rows with two entries +-size and zeros elsewhere."""
    places = list(itertools.combinations(range(length), 2))
    vectors = np.zeros((len(places), 4, length), dtype=np.int64)
    for block, place in zip(vectors, places, strict=True):
        block[:, place] = size * signs(2)
    return vectors.reshape(-1, length)


def _leech_vectors() -> _Integers:
    """List the 1104 + 97152 + 98304 minimal vectors, scaled to squared length 32."""
    code = _golay_code()
    octads = code[code.sum(axis=1) == 8]
    places = np.nonzero(octads)[1].reshape(-1, 1, 8)
    patterns = signs(8)[signs(8).prod(axis=1) > 0].astype(np.int64)
    on_octads = np.zeros((len(octads), len(patterns), 24), dtype=np.int64)
    np.put_along_axis(
        on_octads, np.broadcast_to(places, (len(octads), 128, 8)), 2 * patterns[None], axis=2
    )
    odd = np.where(np.eye(24, dtype=bool), -3, 1) * (1 - 2 * code[:, None, :])
    parts = [_two_entries(24, 4), on_octads.reshape(-1, 24), odd.reshape(-1, 24)]
    return np.concatenate(parts)


def _golay_code() -> _Integers:
    """List the 4096 words of the extended binary Golay code."""
    generator = np.zeros((12, 24), dtype=np.int64)
    for shift in range(12):
        generator[shift, shift : shift + 12] = _GOLAY_GENERATOR
    generator[:, 23] = generator.sum(axis=1) % 2
    messages = (np.arange(4096)[:, None] >> np.arange(12)) & 1
    code: _Integers = messages @ generator % 2
    return code
