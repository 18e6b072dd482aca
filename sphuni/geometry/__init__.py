"""Measures of uniformity: a point set in, a number (or a certified range) out."""

from sphuni.geometry.bounds import BoundResult as BoundResult
from sphuni.geometry.bounds import covering_bound as covering_bound
from sphuni.geometry.bounds import discrepancy_bound as discrepancy_bound
from sphuni.geometry.bounds import energy_bound as energy_bound
from sphuni.geometry.bounds import logdet_bound as logdet_bound
from sphuni.geometry.bounds import polarization_bound as polarization_bound
from sphuni.geometry.bounds import separation_bound as separation_bound
from sphuni.geometry.covering import CoveringResult as CoveringResult
from sphuni.geometry.covering import covering_radius as covering_radius
from sphuni.geometry.covering import mesh_ratio as mesh_ratio
from sphuni.geometry.discrepancy import cap_discrepancy as cap_discrepancy
from sphuni.geometry.discrepancy import design_residual as design_residual
from sphuni.geometry.discrepancy import worst_case_error as worst_case_error
from sphuni.geometry.energy import frame_potential as frame_potential
from sphuni.geometry.energy import kernel_energy as kernel_energy
from sphuni.geometry.energy import potential as potential
from sphuni.geometry.energy import riesz_energy as riesz_energy
from sphuni.geometry.gram import gram_logdet as gram_logdet
from sphuni.geometry.polarization import PolarizationResult as PolarizationResult
from sphuni.geometry.polarization import polarization as polarization
from sphuni.geometry.sampling import SampledEnergy as SampledEnergy
from sphuni.geometry.sampling import sampled_energy as sampled_energy
from sphuni.geometry.separation import SeparationResult as SeparationResult
from sphuni.geometry.separation import separation as separation
