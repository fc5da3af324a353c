"""Decode over all folds of a recording: python main_decode.py --config-name place_cells.yaml."""

from predictive.cli import decode_command

if __name__ == "__main__":
    decode_command()
