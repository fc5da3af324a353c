"""Train a predictor of time series: python main_predictive.py --config-name figure8.yaml."""

from predictive.cli import predictive_command

if __name__ == "__main__":
    predictive_command()
