"""Say what is in the features of weights, beside those of the untrained network.

    solo-ldm diagnostics WEIGHTS [data=NAME] [KEY=VALUE ...]

Measured on held-out images, of features, and of latents where WEIGHTS is the folder of a run:

    spectrum     power law of the covariance's eigenvalues, its cut-off; effective rank, RankMe
    jacobian     numerical rank and participation ratio of the Jacobian with regard to the pixels
    gaussianity  norms, coordinates and slices, beside a Gaussian sample of the same covariance
    views        alignment, uniformity, LiDAR
    classes      class separation, top-1 and calibration error of linear-features
    outside      AUROC of inverted and of other images, by nearest neighbours and Mahalanobis
    embedding    UMAP (extra umap) or t-SNE, and its trustworthiness

Files: results.json, spectrum.csv, diagnostics.png. Keys and defaults are in
configs/diagnostics.yaml.
"""

from solo_ldm.config.command import HydraCommand

diagnostics = HydraCommand(
    run="solo_ldm.commands.diagnostics.run:run",
    schema="solo_ldm.commands.diagnostics.schema:DiagnosticsConfig",
    default="diagnostics",
    complete="solo_ldm.commands.diagnostics.schema:complete_diagnostics",
    positional="pretrained_feature_extractor",
)
main = diagnostics.main
