"""The zoo: manifest.yaml, and the files of small models in weights/. Installed as solo_ldm_zoo."""
