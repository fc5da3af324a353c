"""Pretrain a backbone: python main_pretrain.py --config-name gaussprob.yaml [key=value ...]."""

from solo_ldm.cli import pretrain_command

if __name__ == "__main__":
    pretrain_command()
