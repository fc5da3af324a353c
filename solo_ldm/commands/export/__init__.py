"""Write a backbone as a safetensors file with timm's keys.

    solo-ldm export WEIGHTS PATH [--dtype float16] [--backbone NAME]

PATH ends in .safetensors; `solo_ldm.backbones.load_backbone` and timm load it.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence


def main(argv: Sequence[str]) -> int:
    """Write a backbone as the command line says."""
    parser = argparse.ArgumentParser(
        "solo-ldm export", description="Write a backbone as a safetensors file with timm's keys."
    )
    parser.add_argument(
        "weights", metavar="WEIGHTS", help="a run's folder, a checkpoint, a file, zoo:NAME …"
    )
    parser.add_argument("path", metavar="PATH", help="the file to write, ends in .safetensors")
    parser.add_argument("--dtype", help="float32, float16 or bfloat16; unchanged by default")
    parser.add_argument("--backbone", metavar="NAME", help="for a checkpoint without an args.json")
    given = parser.parse_args(argv)
    from solo_ldm.weights.export import export_backbone

    path = export_backbone(given.weights, given.path, given.dtype, backbone_name=given.backbone)
    print(f"wrote {path}")
    print(f'next: solo_ldm.backbones.load_backbone("{path}")  # in Python')
    return 0
