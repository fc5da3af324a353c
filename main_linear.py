"""Score a backbone: python main_linear.py pretrained_feature_extractor=RUN [key=value ...]."""

from solo_ldm.cli import run_command

if __name__ == "__main__":
    run_command("linear")
