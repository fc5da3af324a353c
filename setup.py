"""What pyproject.toml cannot say: the zoo's folder is installed as the package solo_ldm_zoo."""

from setuptools import find_packages, setup

setup(
    packages=[*find_packages(include=["solo_ldm*", "predictive*"]), "solo_ldm_zoo"],
    package_dir={"solo_ldm_zoo": "zoo"},
    package_data={
        "solo_ldm.configs": ["**/*.yaml"],
        "predictive.configs": ["**/*.yaml"],
        "solo_ldm_zoo": ["manifest.yaml", "weights/**/*"],
    },
)
