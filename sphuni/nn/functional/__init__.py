"""Every objective as a function of one weight (or batch of embeddings), one neuron per row."""

from sphuni.nn.functional.determinant import mgd as mgd
from sphuni.nn.functional.energy import mhe as mhe
from sphuni.nn.functional.features import alignment as alignment
from sphuni.nn.functional.features import koleo as koleo
from sphuni.nn.functional.features import uniformity as uniformity
from sphuni.nn.functional.orthogonality import dso as dso
from sphuni.nn.functional.orthogonality import mutual_coherence as mutual_coherence
from sphuni.nn.functional.orthogonality import orthogonal as orthogonal
from sphuni.nn.functional.orthogonality import so as so
from sphuni.nn.functional.orthogonality import srip as srip
from sphuni.nn.functional.poles import mhc as mhc
from sphuni.nn.functional.poles import mhp as mhp
from sphuni.nn.functional.poles import r_mhp as r_mhp
from sphuni.nn.functional.separation import mhs as mhs
