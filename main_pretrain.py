"""Pretrain a backbone: python main_pretrain.py --config-name gaussprob.yaml [key=value ...]."""

from solo_ldm.cli import run_command

if __name__ == "__main__":
    run_command("pretrain")
