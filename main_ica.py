"""Tell mixed sources apart: python main_ica.py [task=ornstein_uhlenbeck] [mixtures=FILE.npy]."""

from solo_ldm.cli import ica_command

if __name__ == "__main__":
    ica_command()
