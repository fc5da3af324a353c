"""When predictive latent distribution matching identifies sources up to an affine map.

Setting. Sources s in ℝᵈ follow s' = m(s) + ε, with ε ~ N(0, Σ) independent of s, and are seen as
x = g(s), g injective. An encoder f makes latents z = f(x) in ℝᵈ, so that z = h(s) with h = f ∘ g. A
predictor π is any function. The loss is the objective with mutual information:

    L(f, π) = −E log N(z'; π(z), Λ) − H[z'] = E KL( q(z' | z) ‖ N(π(z), Λ) ) − I(z; z')

Theorem. If (1) the residuals ε are Gaussian, (2) Σ is not singular, and (3) the conditional means
m(s) do not lie in one hyperplane with probability one, then the minimum of L is −I(s; s'), and h is
affine (almost everywhere) wherever it is attained.

Proof. KL ≥ 0, and I(z; z') ≤ I(s; s') as z = h(s) and z' = h(s'), so L ≥ −I(s; s'). The latents
z = Λ^½ Σ^−½ s, predicted by their conditional mean, attain it. Let any h attain it. Then KL = 0,
and equality of the informations means that the ratio of densities q(z' | z) / q(z') is
p(s' | s) / p(s') almost surely. By (3) there are d + 1 states s_i with means μ_i in no common
hyperplane; ν_i are the means that are predicted from their latents. Divide the ratio of i by that
of 0. By (1) and (2) the densities are Gaussians of equal covariance, and what is left in the
logarithm is linear in s' and in z' = h(s'):

    (μ_i − μ_0)ᵀ Σ⁻¹ s' + a_i = (ν_i − ν_0)ᵀ Λ⁻¹ h(s') + b_i,    in short  M s' + a = N h(s') + b.

M is invertible by (3), so N h(s') lies in no hyperplane, so N is invertible too, and
h(s') = N⁻¹ (M s' + a − b). Nothing was assumed about π or h: both may be nonlinear.

Which entropy. For an invertible h, H[z' | z] = H[s' | s] + E log |det Dh(s')|, and H[z'], or half
of H[z, z'] where the process is stationary, differs from it by a constant. The conditional entropy
alone does not penalise an h that discards information, as the loss lacks I(z; z').

Why each assumption is needed; each case violates one:

non_gaussian: for affine h the loss keeps the divergence of the residuals from a Gaussian. Maps that
    make latents more Gaussian lower it.
singular: a source without noise, s2, is known in advance. z1 = s1 − u(s2) then has the same
    residual as s1, for every function u, and is as good a source. And stretching s2 costs nothing,
    so that L has no minimum.
blind: means that span r < d dimensions determine r rows of M. The r sources that Σ⁻¹ (μ_i − μ_0)
    point at are still affine in z. The others carry no information about the next step, and any
    Gaussian function of them is as good: two white sources stay white and Gaussian when rotated by
    an angle that depends on their radius.

Source: Mikulasch & Zenke, arXiv 2605.03517, for the claim. The proof is ours; differences of
log-densities between d + 1 states are the argument of Hyvärinen & Morioka, arXiv 1605.06336, and of
Khemakhem et al., arXiv 1907.04809. Compare Zimmermann et al., arXiv 2102.08850, for contrastive
learning.
"""

from solo_ldm.theorem.alternatives import ALTERNATIVES, compare_losses
from solo_ldm.theorem.metrics import Recovery, affine_recovery
from solo_ldm.theorem.problems import CASES, Case, Problem
from solo_ldm.theorem.trial import ENTROPIES, Trial, run_trial

__all__ = [
    "ALTERNATIVES",
    "CASES",
    "ENTROPIES",
    "Case",
    "Problem",
    "Recovery",
    "Trial",
    "affine_recovery",
    "compare_losses",
    "run_trial",
]
