"""Train a predictor of time series: python main_predictive.py --config-name figure8.yaml."""

from solo_ldm.cli import run_command

if __name__ == "__main__":
    run_command("predictive")
