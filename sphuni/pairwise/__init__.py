"""The engine: the only loops over all pairs of points in the library."""

from sphuni.pairwise._cell_loops import Cells as Cells
from sphuni.pairwise._cells import cell_sums as cell_sums
from sphuni.pairwise._cells import has_cells as has_cells
from sphuni.pairwise._cells import interpolated_sums as interpolated_sums
from sphuni.pairwise._closest import smallest_distance as smallest_distance
from sphuni.pairwise._dispatch import Decision as Decision
from sphuni.pairwise._dispatch import Engine as Engine
from sphuni.pairwise._dispatch import explain as explain
from sphuni.pairwise._dispatch import pair_reduce as pair_reduce
from sphuni.pairwise._dispatch import sum_and_gradient as sum_and_gradient
from sphuni.pairwise._gradient import compiled_kind as compiled_kind
from sphuni.pairwise._gradient import compiled_planes as compiled_planes
from sphuni.pairwise._gradient import native_pairs as native_pairs
from sphuni.pairwise._gradient import native_sets as native_sets
from sphuni.pairwise._gram import gram_matrix as gram_matrix
from sphuni.pairwise._nearest import Nearest as Nearest
from sphuni.pairwise._nearest import nearest as nearest
from sphuni.pairwise._nearest import nearest_index as nearest_index
from sphuni.pairwise._ring import agree_on_rows as agree_on_rows
from sphuni.pairwise._ring import is_sharded as is_sharded
from sphuni.pairwise._scan import PairScan as PairScan
from sphuni.pairwise._scan import ScanPart as ScanPart
from sphuni.pairwise._scan import merge_scans as merge_scans
from sphuni.pairwise._scan import scan_block as scan_block
from sphuni.pairwise._scan import scan_pairs as scan_pairs
from sphuni.pairwise._scan import scan_part as scan_part
