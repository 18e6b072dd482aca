"""The engine: the only loops over all pairs of points in the library."""

from sphuni.pairwise._dispatch import Decision as Decision
from sphuni.pairwise._dispatch import Engine as Engine
from sphuni.pairwise._dispatch import PairEngine as PairEngine
from sphuni.pairwise._dispatch import explain as explain
from sphuni.pairwise._dispatch import pair_reduce as pair_reduce
from sphuni.pairwise._gradient import compiled_kind as compiled_kind
from sphuni.pairwise._gradient import compiled_planes as compiled_planes
from sphuni.pairwise._gradient import native_pairs as native_pairs
from sphuni.pairwise._gradient import tiled_gradient as tiled_gradient
from sphuni.pairwise._gram import gram_matrix as gram_matrix
from sphuni.pairwise._nearest import Nearest as Nearest
from sphuni.pairwise._nearest import nearest as nearest
from sphuni.pairwise._scan import PairScan as PairScan
from sphuni.pairwise._scan import scan_pairs as scan_pairs
