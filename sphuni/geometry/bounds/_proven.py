"""Optima that were proved one by one, where the general bounds are larger."""

import math

__all__ = ["COVERINGS", "PACKINGS", "PACKINGS_OF_LINES"]

_SCHUETTE_VAN_DER_WAERDEN = "Schuette and van der Waerden (1951)"
_DANZER = "Danzer (1963)"
_COHN = "Cohn, de Laat and Leijenhorst (2024)"
PACKINGS: dict[int, dict[int, tuple[float, str]]] = {
    3: {
        7: (0.21013831273060308489, _SCHUETTE_VAN_DER_WAERDEN),
        8: ((math.sqrt(8) - 1) / 7, _SCHUETTE_VAN_DER_WAERDEN),
        9: (1 / 3, _SCHUETTE_VAN_DER_WAERDEN),
        10: (0.40439432521625075685, _DANZER),
        11: (math.sqrt(1 / 5), _DANZER),
        13: (0.54263648682963846368, "Musin and Tarasov (2012)"),
        14: (0.56395030036050516749, "Musin and Tarasov (2015)"),
        24: (0.72307846833350853703, "Robinson (1961)"),
    },
    4: {
        10: (1 / 6, "Bachoc and Vallentin (2009)"),
        24: (1 / 2, "de Laat, Leijenhorst and de Muinck Keizer (2024)"),
        120: ((1 + math.sqrt(5)) / 4, "Cohn and Kumar (2007)"),
    },
    16: {288: (1 / 4, _COHN)},
    20: {56: (1 / 15, _COHN)},
    21: {50: (1 / 21, _COHN), 77: (1 / 12, _COHN)},
    64: {4224: (1 / 8, _COHN)},
    256: {66048: (1 / 16, _COHN)},
    1024: {1050624: (1 / 32, _COHN)},
}
"""By dimension and number of points: the least largest cosine, and who proved it."""

PACKINGS_OF_LINES: dict[int, dict[int, tuple[float, str]]] = {
    3: {
        5: (math.sqrt(1 / 5), "Fejes Toth (1965)"),
        7: (math.sqrt(1 / 3), "the axes and diagonals of a cube"),
        8: (0.64758897873417862734, "Mixon and Parshall (2019)"),
    },
    4: {60: ((1 + math.sqrt(5)) / 4, "Cohn and Kumar (2007)")},
}
"""The same of lines."""

COVERINGS = {
    5: (math.sqrt(1 / 5), "Schuette (1955)"),
    7: (0.62896016964509405753, "Schuette (1955)"),
    8: (0.66731888658455661852, "Wimmer (2017)"),
    10: (0.73953915425623487187, "G. Fejes Toth (1969)"),
}
"""By number of points of S^2: the cosine of the least covering radius, and who proved it."""
