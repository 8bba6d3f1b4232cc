"""Risk, log odds, and the straight line between a model's log odds and what was observed."""

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Counts = npt.NDArray[np.int64]


def calibration_line(
    margins: Floats, labels: Counts, *, prior_weight: float = 1.0, min_slope: float = 0.05
) -> tuple[float, float]:
    """Return (intercept, slope) of the logistic regression of the outcome on the margin.

    A weak prior (slope 1, standard deviation 1) holds it when there are few outcomes; the slope is never below 0.05, so
    a higher margin is never a lower risk. Without rows the margin stands as it is.
    """
    from scipy.optimize import minimize

    if not len(margins):
        return 0.0, 1.0

    # Sums, not products by @: that wakes threads, which cost more than they bring.
    def loss(line: Floats) -> tuple[float, Floats]:
        linear = line[0] + line[1] * margins
        lack = to_risk(linear) - labels
        cost = (np.logaddexp(0.0, linear) - linear * labels).sum() + 0.5 * prior_weight * (line[1] - 1.0) ** 2
        slope_gradient = (lack * margins).sum() + prior_weight * (line[1] - 1.0)
        return cost / len(labels), np.array([lack.sum(), slope_gradient]) / len(labels)

    bounds = [(-20.0, 20.0), (min_slope, 20.0)]
    exact = {"ftol": 1e-14, "gtol": 1e-8}
    found = minimize(loss, [0.0, 1.0], jac=True, method="L-BFGS-B", bounds=bounds, options=exact)
    return float(found.x[0]), float(found.x[1])


def to_risk(margin: Floats) -> Floats:
    """Return the probability that belongs to log odds."""
    risk: Floats = 1.0 / (1.0 + np.exp(-np.clip(margin, -700.0, 700.0)))
    return risk


def to_margin(risk: Floats) -> Floats:
    """Return the log odds of a probability; 0 and 1 count as one in a million away."""
    within = np.clip(risk, 1e-6, 1.0 - 1e-6)
    margin: Floats = np.log(within / (1.0 - within))
    return margin
