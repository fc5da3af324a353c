"""Assess the uncertainty that a run predicts: python main_uncertainty.py RUN."""

from solo_ldm.cli import uncertainty_command

if __name__ == "__main__":
    uncertainty_command()
