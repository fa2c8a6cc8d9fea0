"""Physical constants, each with its source.

Units: GeV, GeV^2, 1e-38 cm^2, unless the name says otherwise.
"""

from __future__ import annotations

from math import inf, pi
from typing import Final

# CODATA 2022 / PDG 2024, table 1.1
FERMI_CONSTANT: Final = 1.1663788e-5  # G_F / (hbar c)^3, GeV^-2
HBARC_SQUARED: Final = 3.893793721e-28  # GeV^2 cm^2
PROTON_MASS: Final = 0.93827208943  # GeV
NEUTRON_MASS: Final = 0.93956542194  # GeV
NUCLEON_MASS: Final = 0.5 * (PROTON_MASS + NEUTRON_MASS)  # GeV, isoscalar average
ELECTRON_MASS: Final = 0.51099895069e-3  # GeV
MUON_MASS: Final = 0.1056583755  # GeV

# PDG 2024, summary tables
TAU_MASS: Final = 1.77693  # GeV
W_MASS: Final = 80.3692  # GeV
PION_MASS: Final = 0.13957039  # GeV, charged
DELTA_MASS: Final = 1.232  # GeV, Breit-Wigner mass of Delta(1232)
DELTA_WIDTH: Final = 0.117  # GeV, its Breit-Wigner width
PROTON_MOMENT: Final = 2.7928473446  # nuclear magnetons
NEUTRON_MOMENT: Final = -1.9130427  # nuclear magnetons
AXIAL_COUPLING: Final = 1.2754  # g_A/g_V of neutron decay
CABIBBO: Final = 0.97367  # |V_ud|

# The unit in which cross sections are given
CROSS_SECTION_UNIT: Final = 1e-38  # cm^2

# Matter potential V = sqrt(2) G_F n_e as 2 E V = MATTER_POTENTIAL * Y_e rho E, from CODATA 2022
# with n_e = Y_e rho N_A: eV^2 per (GeV g/cm^3). The constant inside NuFast, 1.52588e-4, is 4e-4
# lower.
MATTER_POTENTIAL: Final = 1.52649e-4

# Vacuum phase, dm2 L / (4 E hbar c) = PHASE * dm2[eV^2] L[km] / E[GeV]; hbar c is exact in the SI
# of 2019
HBARC: Final = 1.973269804593025e-7  # eV m
PHASE: Final = 1e3 / (4.0 * HBARC * 1e9)

# Values that oscillation parameters can have: eV^2, rad. The phase may be given on any other turn
PHYSICAL_RANGE: Final[dict[str, tuple[float, float]]] = {
    "s2_12": (0.0, 1.0),
    "s2_13": (0.0, 1.0),
    "s2_23": (0.0, 1.0),
    "dcp": (-pi, pi),
    "dm21": (0.0, inf),
    "dm31": (-inf, inf),
}
# eV^2; a larger one is written in 1e-3 or 1e-5 eV^2
LARGEST_SPLITTING: Final[dict[str, float]] = {"dm21": 0.01, "dm31": 0.1}
