"""Rank methods over seeds under one budget: python main_compare.py [jobs=2] [seeds=[0,1,2]]."""

from solo_ldm.cli import compare_command

if __name__ == "__main__":
    compare_command()
