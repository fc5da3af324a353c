"""Compare the clusters that a run found with the classes: python main_clusters.py RUN."""

from solo_ldm.cli import clusters_command

if __name__ == "__main__":
    clusters_command()
