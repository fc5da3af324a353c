"""Score weights by nearest neighbours: python main_knn.py pretrained_feature_extractor=RUN."""

from solo_ldm.cli import run_command

if __name__ == "__main__":
    run_command("knn")
