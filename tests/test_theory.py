"""The theory against brute force: thrown points, simulated fits, plain linear algebra, quadrature.

Monte Carlo comparisons allow 5 standard errors: with the seeds fixed they cannot flicker, and a
correct formula would fail one in 1.7 million draws of the seed.
"""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import integrate, stats

from adlib import projection, theory
from adlib.errors import InputError

SIGMAS = 5.0


def assert_share(share: float, expected: float, n: int) -> None:
    error = np.sqrt(expected * (1 - expected) / n) + 1 / n
    assert abs(share - expected) < SIGMAS * error


# --- the interval argument ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("eps", "gap"), [(0.05, 0.05), (0.3, 0.1), (0.5, 0.1), (1.0, 0.4), (0.9, 0.01), (1.0, 0.0)]
)
def test_eq12_and_the_order_are_what_thrown_points_say(eps, gap):
    n = 200_000
    thrown = theory.simulate_intervals(eps, gap, n, np.random.default_rng(1))
    assert_share(thrown.outside, float(theory.length_ratio(eps, gap)), n)
    assert_share(thrown.ordered, float(theory.order_probability(eps, gap)), n)


def test_eq12_limits():
    assert theory.length_ratio(0.2, 0.2) == 1
    assert theory.length_ratio(0.5, 0.0) == 0
    assert theory.length_ratio(0.3, 0.1) == pytest.approx(0.5)
    assert theory.length_ratio(0.3 + 1e-6, 0.1) < 0.5


@given(eps=st.floats(1e-3, 1), gap=st.floats(0, 0.999))
def test_an_ordered_pair_stays_in_order_at_least_half_the_time(eps, gap):
    probability = theory.order_probability(eps, gap)
    assert 0.5 - 1e-12 <= probability <= 1
    assert probability == 1 or eps > gap
    if gap > 0:
        assert theory.order_probability(eps, -gap) == pytest.approx(1 - probability, abs=1e-15)


def test_eq15_is_eq13_at_the_distortion_of_eq14():
    gap, q = 0.1, 20.0
    low, high = theory.report_domain(gap, q)
    dims = np.geomspace(low, high, 50)
    curve = theory.report_curve(dims, 0.7, gap, q)
    r = 2 * gap / (np.sqrt(q / dims) + gap)
    np.testing.assert_allclose(curve, 0.7 * r + 0.3, rtol=1e-12)
    assert curve[-1] == 1
    assert np.all(np.diff(curve) > 0)
    np.testing.assert_array_equal(theory.report_curve(dims, 0.0, gap, q), 1)


@given(gap=st.floats(0.01, 0.5), end=st.floats(100, 1e4), overlap=st.floats(0, 1))
def test_eq15_knows_only_p_and_its_end(gap, end, overlap):
    low, high = theory.report_domain(gap, gap**2 * end)
    dims = np.geomspace(low, high, 7)
    np.testing.assert_allclose(
        theory.report_curve(dims, overlap, gap, gap**2 * end),
        theory.report_shape(dims, overlap, end),
        atol=1e-9,
    )


def test_shape_stays_one_beyond_its_end():
    assert theory.report_shape([100, 101, 1e6], 0.5, 100).tolist() == [1, 1, 1]


def test_fit_recovers_a_curve_of_its_family():
    dims = np.array([25, 50, 100, 150, 200, 300.0])
    fit = theory.fit_report_curve(dims, theory.report_shape(dims, 0.3, 5000))
    assert fit.overlap == pytest.approx(0.3, rel=0.02)
    assert fit.end == pytest.approx(5000, rel=0.05)
    assert fit.rmse < 1e-3


def test_fit_of_constants():
    flat = theory.fit_report_curve([25, 50, 100], [1, 1, 1])
    assert (flat.overlap, flat.rmse) == (0, 0)
    # below 1 a constant is reached only as the end goes to infinity
    assert theory.fit_report_curve([25, 50, 100], [0.9] * 3).end == pytest.approx(1e8)


def test_consistent_curve_ends_at_the_share_of_ordered_pairs():
    gaps = np.random.default_rng(2).uniform(-0.1, 0.4, 1000)
    dims = np.array([4.0, 100, 1e9])
    curve = theory.consistent_curve(dims, gaps, q=4)
    assert curve[2] == pytest.approx(np.mean(gaps > 0), abs=1e-3)
    assert curve[2] < 1
    assert theory.consistent_curve(100, [0.1], 4) == theory.order_probability(0.2, 0.1)


# --- the contraction ------------------------------------------------------------------------------


def random_covariance(rng: np.random.Generator, channels: int) -> np.ndarray:
    root = rng.standard_normal((channels, channels))
    return root @ root.T + 0.1 * np.eye(channels)


@settings(max_examples=50)
@given(seed=st.integers(0, 2**32), channels=st.integers(1, 12), data=st.data())
def test_projection_contracts_and_ignores_invertible_maps(seed, channels, data):
    dim = data.draw(st.integers(1, channels))
    rng = np.random.default_rng(seed)
    sigma, delta = random_covariance(rng, channels), rng.standard_normal((3, channels))
    full = theory.mahalanobis2(delta, sigma)
    plain = np.einsum("ni,ij,nj->n", delta, np.linalg.inv(sigma), delta)
    np.testing.assert_allclose(full, plain, rtol=1e-7)
    matrix = rng.standard_normal((dim, channels))
    reduced = theory.mahalanobis2(delta, sigma, matrix)
    assert np.all(reduced <= full * (1 + 1e-6))
    mixed = theory.mahalanobis2(delta, sigma, (np.eye(dim) + 0.3 * np.tri(dim)) @ matrix)
    np.testing.assert_allclose(mixed, reduced, rtol=1e-5)
    if dim == channels:
        np.testing.assert_allclose(reduced, full, rtol=1e-4)


def test_with_eps_orthonormal_rows_contract_and_scaled_rows_need_not():
    rng = np.random.default_rng(3)
    sigma, delta = np.diag(theory.power_spectrum(40, 1.5)), rng.standard_normal((200, 40))
    full = theory.mahalanobis2(delta, sigma, eps=0.5)
    haar = projection.draw("haar", 20, 40, seed=0).dense(40)
    assert np.all(theory.mahalanobis2(delta, sigma, haar, eps=0.5) <= full * (1 + 1e-6))
    # Eq. 6 scales the features by D/m, which makes the same eps smaller
    assert np.any(theory.mahalanobis2(delta, sigma, 3 * haar, eps=0.5) > full)


@pytest.mark.parametrize(("dim", "channels"), [(1, 5), (10, 30), (29, 30)])
def test_beta_law_of_uniform_row_spaces(dim, channels):
    n = 4000
    rng = np.random.default_rng(4)
    ratios = np.array(
        [
            theory.contraction_by_direction(rng.standard_normal((dim, channels)), np.ones(channels))
            for _ in range(n)
        ]
    )
    np.testing.assert_allclose(ratios.sum(axis=1), dim)
    one, law = ratios[:, 0], theory.contraction_law(dim, channels)
    assert law.mean() == pytest.approx(dim / channels)
    assert law.std() / law.mean() == pytest.approx(theory.contraction_spread(dim, channels))
    assert abs(one.mean() - law.mean()) < SIGMAS * law.std() / np.sqrt(n)
    fourth = law.stats(moments="k") + 3
    assert abs(one.var() / law.var() - 1) < SIGMAS * np.sqrt((fourth - 1) / n)
    assert stats.kstest(one, law.cdf).pvalue > 1e-6


def test_contraction_by_direction_is_a_ratio_of_mahalanobis_distances():
    rng = np.random.default_rng(5)
    spectrum, matrix = theory.power_spectrum(15, 2.0), rng.standard_normal((6, 15))
    sigma, axes = np.diag(spectrum), np.eye(15)
    ratio = theory.mahalanobis2(axes, sigma, matrix) / theory.mahalanobis2(axes, sigma)
    found = theory.contraction_by_direction(matrix, spectrum)
    np.testing.assert_allclose(found, ratio, rtol=1e-8)
    assert found[0] > 0.8 > 0.2 > found[-1]


def test_nothing_is_lost_without_reduction():
    assert theory.contraction_spread(30, 30) == 0
    np.testing.assert_allclose(theory.contraction_by_direction(np.eye(4), np.arange(1, 5)), 1)


def test_power_spectrum_has_mean_one():
    np.testing.assert_array_equal(theory.power_spectrum(7, 0), 1)
    spectrum = theory.power_spectrum(100, 1.5)
    assert spectrum.mean() == pytest.approx(1)
    assert spectrum[0] / spectrum[3] == pytest.approx(8)


# --- the F-law ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("dim", "n_train", "shift2"), [(1, 2, 5.0), (3, 10, 8.0), (50, 60, 200.0), (199, 200, 500.0)]
)
def test_f_law_is_the_order_of_two_ratios_of_chi_squares(dim, n_train, shift2):
    n, rng = 200_000, np.random.default_rng(6)
    normal = rng.chisquare(dim, n) / rng.chisquare(n_train - dim, n)
    noncentral = n_train / (n_train + 1) * shift2
    shifted = rng.noncentral_chisquare(dim, noncentral, n) / rng.chisquare(n_train - dim, n)
    assert_share(float(np.mean(shifted > normal)), float(theory.f_law(dim, n_train, shift2)), n)


def test_f_law_in_one_dimension_with_known_covariance():
    """As N grows, |Z + s| > |Z'| in one dimension: Phi(s/sqrt 2)^2 + Phi(-s/sqrt 2)^2."""
    shift = np.array([0.5, 1, 2, 4])
    half = stats.norm.cdf(shift / np.sqrt(2))
    expected = half**2 + (1 - half) ** 2
    np.testing.assert_allclose(theory.f_law(1, 10**7, shift**2), expected, atol=1e-6)


def test_f_law_limits():
    assert theory.f_law(5, 50, 0) == 0.5
    assert theory.f_law(5, 50, 1e-13) == pytest.approx(0.5, abs=1e-9)
    assert theory.f_law(5, 50, 1e5) == pytest.approx(1)
    rising = theory.f_law(20, 50, np.geomspace(0.01, 300, 30))
    assert np.all(np.diff(rising) > 0)
    falling = theory.f_law(np.arange(1, 50), 50, 30.0)
    assert np.all(np.diff(falling) < 0)


@pytest.mark.parametrize(("dim", "channels"), [(1, 2), (1, 40), (13, 40), (39, 40), (30, 6048)])
def test_size_after_projection_is_integrated_over_the_beta_law(dim, channels):
    n_train, delta2 = 45, 60.0
    law = theory.contraction_law(dim, channels)
    expected, _ = integrate.quad(
        lambda share: float(theory.f_law(dim, n_train, delta2 * law.ppf(share))), 0, 1, limit=200
    )
    found = theory.projected_f_law(dim, n_train, channels, delta2, nodes=40)
    assert found == pytest.approx(expected, abs=1e-6)
    assert theory.projected_f_law(dim, n_train, channels, delta2) == pytest.approx(found, abs=1e-4)
    at_the_mean = theory.projected_f_law(dim, n_train, channels, delta2, nodes=1)
    assert at_the_mean == pytest.approx(theory.f_law(dim, n_train, delta2 * dim / channels))


def test_projected_f_law_without_reduction_and_broadcast():
    assert theory.projected_f_law(40, 60, 40, 9.0) == pytest.approx(theory.f_law(40, 60, 9.0))
    table = theory.projected_f_law(np.arange(1, 11)[:, None], 60, 40, [4.0, 9.0])
    assert table.shape == (10, 2)
    assert table[3, 1] == theory.projected_f_law(4, 60, 40, 9.0)


@pytest.mark.parametrize(
    ("dim", "decay", "reduction"),
    [(5, 0.0, "haar"), (20, 1.5, "gaussian"), (33, 1.5, "haar"), (20, 0.0, "coordinate")],
)
def test_f_law_describes_the_refitted_detector(dim, decay, reduction):
    """Whatever the spectrum and the reduction, as long as anomalies are uniform when whitened."""
    n_train, channels, delta2 = 40, 60, 80.0
    simulated = theory.simulate_refit(
        dim,
        n_train,
        theory.power_spectrum(channels, decay),
        delta2,
        reduction=reduction,
        n_fits=600,
        n_test=20,
        rng=np.random.default_rng(7),
    )
    expected = theory.projected_f_law(dim, n_train, channels, delta2)
    assert simulated.across_se < 0.01
    assert abs(simulated.across - expected) < SIGMAS * simulated.across_se


def test_scores_across_fits_are_the_f_law_and_scores_within_one_fit_are_not():
    """In one dimension a common variance cancels: only across fits does its estimate cost."""
    simulated = theory.simulate_refit(
        1, 3, np.ones(1), 9.0, n_fits=2000, n_test=20, rng=np.random.default_rng(9)
    )
    expected = theory.f_law(1, 3, 9.0)
    assert abs(simulated.across - expected) < SIGMAS * simulated.across_se
    assert simulated.within > expected + 10 * simulated.within_se


def test_simulated_detector_is_the_plain_one():
    """One fit written out with numpy, in D dimensions, agrees with the m-dimensional short cut."""
    rng = np.random.default_rng(8)
    n_train, channels, dim, eps, delta2 = 25, 12, 4, 0.3, 9.0
    spectrum = theory.power_spectrum(channels, 1.0)
    shares = []
    for seed in range(400):
        matrix = projection.draw("gaussian", dim, channels, seed).dense(channels)
        train = rng.standard_normal((n_train, channels)) * np.sqrt(spectrum) @ matrix.T
        inverse = np.linalg.inv(np.cov(train.T) + eps * np.eye(dim))
        white = rng.standard_normal((2, 10, channels))
        direction = rng.standard_normal((10, channels))
        white[1] += 3 * direction / np.linalg.norm(direction, axis=1, keepdims=True)
        centred = white * np.sqrt(spectrum) @ matrix.T - train.mean(axis=0)
        normal, shifted = np.einsum("cni,ij,cnj->cn", centred, inverse, centred)
        shares.append(np.mean(shifted[:, None] > normal))
    simulated = theory.simulate_refit(
        dim,
        n_train,
        spectrum,
        delta2,
        reduction="gaussian",
        eps=eps,
        n_fits=400,
        n_test=10,
        rng=rng,
    )
    error = np.hypot(np.std(shares) / np.sqrt(len(shares)), simulated.within_se)
    assert abs(np.mean(shares) - simulated.within) < SIGMAS * error


def test_simulation_depends_on_its_generator_only():
    def run(seed: int) -> theory.SimulatedAuroc:
        rng = np.random.default_rng(seed)
        return theory.simulate_refit(6, 5, np.ones(8), 20.0, eps=0.1, n_fits=4, n_test=5, rng=rng)

    assert run(1) == run(1) != run(2)


def test_matched_eps_follows_the_scale_of_the_projection():
    """Eq. 6 makes the variance of a coordinate D/m times larger; the draws are the same."""
    dim, channels, eps = 10, 400, 0.5

    def curve(eps: float, eps_scale: str) -> float:
        return theory.refit_curve(
            dim,
            30,
            theory.power_spectrum(channels, 0.5),
            150.0,
            reduction="gaussian",
            eps=eps,
            eps_scale=eps_scale,
            n_fits=40,
        )[0]

    by_hand = curve(eps * channels / dim, "nominal")
    assert curve(eps, "matched") == pytest.approx(by_hand, abs=2e-3)
    assert abs(curve(eps, "nominal") - by_hand) > 0.01


def test_refit_curve_rises_with_the_anomaly_and_can_be_calibrated_on():
    def at(delta2: float) -> float:
        return theory.refit_curve(5, 20, np.ones(10), delta2, eps=0.1, n_fits=20)[0]

    assert at(2.0) < at(8.0) < at(32.0)
    assert at(theory.calibrate(at, 0.8)) == pytest.approx(0.8, abs=0.002)


def test_best_dimension_lies_inside():
    best = theory.best_dimension(60, 100, 150.0)
    values = theory.projected_f_law([1, best.dim - 1, best.dim, best.dim + 1, 59], 60, 100, 150.0)
    assert best.auroc == pytest.approx(values[2])
    assert values.argmax() == 2
    assert values[0] < 0.8 > values[4]


def test_calibration_inverts_the_law():
    def curve(delta2: float) -> float:
        return float(theory.projected_f_law(100, 209, 448, delta2))

    assert theory.calibrate(curve, curve(345.6)) == pytest.approx(345.6, rel=1e-6)
    with pytest.raises(InputError, match="to calibrate on must lie in"):
        theory.calibrate(curve, 0.5)


def test_fit_of_sizes_recovers_a_mixture_and_prefers_the_size_that_fits():
    dims, sizes = np.array([10, 30, 60, 90]), np.geomspace(50, 800, 9)
    table = theory.projected_f_law(dims[:, None], 120, 200, sizes)
    measured = 0.04 / 2 + 0.96 * table[:, 4]
    fit = theory.fit_sizes(table, sizes, measured)
    assert (fit.hidden, fit.delta2) == (pytest.approx(0.04), sizes[4])
    assert fit.rmse < 1e-12
    np.testing.assert_allclose(fit.values, measured)
    # nothing visible: every size explains a curve at one half equally well, with w = 1
    assert theory.fit_sizes(table, sizes, np.full(4, 0.5)).hidden == 1


def test_several_sizes_share_their_draws():
    def run(delta2: np.ndarray | float) -> theory.SimulatedAuroc:
        rng = np.random.default_rng(3)
        return theory.simulate_refit(4, 20, np.ones(8), delta2, n_fits=10, rng=rng)

    together = run(np.array([[1.0, 4.0], [9.0, 16.0]]))
    assert together.across.shape == (2, 2)
    for index, delta2 in np.ndenumerate([[1.0, 4.0], [9.0, 16.0]]):
        assert run(delta2).within == together.within[index]


# --- the door -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: theory.length_ratio(0.1, 0.2), "eps must lie in"),
        (lambda: theory.length_ratio(0.1, -0.2), "gap k must lie in"),
        (lambda: theory.length_ratio(0.0, 0.0), "eps must lie in"),
        (lambda: theory.length_ratio(np.nan, 0.1), "eps must be finite"),
        (lambda: theory.length_ratio("much", 0.1), "eps must be numbers"),
        (lambda: theory.report_performance(0.5, 0.1, 1.1), "share of overlapping"),
        (lambda: theory.report_curve(9.9, 0.5, 0.1, 10), "holds for x in"),
        (lambda: theory.report_curve(1001, 0.5, 0.1, 10), "holds for x in"),
        (lambda: theory.report_curve(20, 0.5, 0.0, 10), "gap k must lie in"),
        (lambda: theory.report_domain(0.1, 0), "q must be above 0"),
        (lambda: theory.report_shape(0, 0.5, 10), "dimension must be above 0"),
        (lambda: theory.fit_report_curve([10], [0.9]), "at least two"),
        (lambda: theory.fit_report_curve([10, 20], [0.9, 97.0]), "fraction"),
        (lambda: theory.fit_report_curve([10, 20], [0.9, 0.9, 0.9]), "as many values"),
        (lambda: theory.order_probability(1.5, 0.1), "eps must lie in"),
        (lambda: theory.order_probability(0.5, 1.0), "gap k must lie in"),
        (lambda: theory.consistent_curve(3, [0.1], 4), "of at least q"),
        (lambda: theory.consistent_curve(3, [], 1), "gaps must be finite"),
        (lambda: theory.contraction_law(30, 30), "must lie in"),
        (lambda: theory.contraction_spread(31, 30), "must lie in"),
        (lambda: theory.contraction_by_direction(np.eye(2), [1, 0]), "variances must be above"),
        (lambda: theory.power_spectrum(0, 1.0), "channels must be at least"),
        (lambda: theory.f_law(50, 50, 1.0), "needs 1 <= m < N"),
        (lambda: theory.f_law(1, 1, 1.0), "at least 2"),
        (lambda: theory.f_law(5, 50, -1.0), "at least 0"),
        (lambda: theory.fit_sizes(np.ones((2, 3)), [1, 2], [0.9, 0.9]), "one row a measured"),
        (lambda: theory.fit_sizes(np.ones((2, 1)), [1], [0.9, 97]), "fraction"),
        (lambda: theory.projected_f_law(41, 50, 40, 1.0), "at most D"),
        (lambda: theory.projected_f_law(0, 50, 40, 1.0), "at least 1"),
    ],
)
def test_outside_the_domain_is_refused(call, message):
    with pytest.raises(InputError, match=message):
        call()


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"dim": 5}, "below N"),
        ({"n_fits": 5}, "even"),
        ({"spectrum": np.zeros(8)}, "above 0"),
        ({"eps_scale": "natural"}, "one of"),
        ({"delta2": -1.0}, "at least 0"),
    ],
)
def test_simulation_refuses_what_it_cannot_fit(changed, message):
    arguments = {"dim": 3, "n_train": 5, "spectrum": np.ones(8), "delta2": 1.0, "n_fits": 4}
    with pytest.raises(InputError, match=message):
        theory.simulate_refit(**(arguments | changed), rng=np.random.default_rng(0))
