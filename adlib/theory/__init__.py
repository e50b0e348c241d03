r"""What theory says about detection after a projection, without looking at data.

* ``interval``: the JL report's Section 4.3 (Eq. 11-15), and what its argument gives once the
  intervals carry a probability;
* ``contraction``: a Mahalanobis distance that is refitted after a projection can only shrink; in
  whitened coordinates M'^2/M^2 follows a Beta law;
* ``hotelling``: the F-law, AUROC(m) with mean and covariance estimated from N normal patches;
* ``refit``: the same detector simulated, where the regulariser leaves no closed form.

========  ===========  ===============================================================
symbol    variable     meaning
========  ===========  ===============================================================
D, m      channels,    dimensions before and after the projection
          dim
N         n_train      normal patches behind one mean and covariance
eps       eps          ``interval``: the distortion of a distance, in (0, 1];
                       elsewhere: the regulariser of the report's Eq. 4 and 9
k         gap          (D1 - D2) / (D1 + D2), anomalous against normal distance
p         overlap      share of pairs whose intervals overlap (Eq. 13)
q         q            x eps^2 (Eq. 14)
Delta^2   delta2       squared Mahalanobis size of the anomaly before the projection
Delta'^2  shift2       the same after it
========  ===========  ===============================================================
"""

from __future__ import annotations

from adlib.theory.contraction import (
    contraction_by_direction,
    contraction_law,
    contraction_spread,
    mahalanobis2,
    power_spectrum,
)
from adlib.theory.hotelling import (
    Best,
    SizesFit,
    best_dimension,
    calibrate,
    f_law,
    fit_sizes,
    projected_f_law,
)
from adlib.theory.interval import (
    IntervalShares,
    ReportFit,
    consistent_curve,
    fit_report_curve,
    length_ratio,
    order_probability,
    report_curve,
    report_domain,
    report_performance,
    report_shape,
    simulate_intervals,
)
from adlib.theory.refit import SimulatedAuroc, refit_curve, simulate_refit

__all__ = [
    "Best",
    "IntervalShares",
    "ReportFit",
    "SimulatedAuroc",
    "SizesFit",
    "best_dimension",
    "calibrate",
    "consistent_curve",
    "contraction_by_direction",
    "contraction_law",
    "contraction_spread",
    "f_law",
    "fit_report_curve",
    "fit_sizes",
    "length_ratio",
    "mahalanobis2",
    "order_probability",
    "power_spectrum",
    "projected_f_law",
    "refit_curve",
    "report_curve",
    "report_domain",
    "report_performance",
    "report_shape",
    "simulate_intervals",
    "simulate_refit",
]
