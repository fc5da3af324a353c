"""Write a backbone as a safetensors file with timm's keys.

    solo-ldm export WEIGHTS PATH [--dtype float16] [--backbone NAME]

PATH ends in .safetensors; `solo_ldm.backbones.load_backbone` and timm load it.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from solo_ldm.commands.shared.schema import ORIGINS
from solo_ldm.config.errors import Parser
from solo_ldm.config.places import check_place
from solo_ldm.config.schema import check_path


def main(argv: Sequence[str]) -> int:
    """Write a backbone as the command line says."""
    parser = Parser(
        "solo-ldm export", description="Write a backbone as a safetensors file with timm's keys."
    )
    parser.add_argument(
        "weights", metavar="WEIGHTS", help="a run's folder, a checkpoint, a file, zoo:NAME …"
    )
    parser.add_argument("path", metavar="PATH", help="the file to write, ends in .safetensors")
    parser.add_argument(
        "--dtype", choices=("float32", "float16", "bfloat16"), help="unchanged by default"
    )
    parser.add_argument("--backbone", metavar="NAME", help="for a checkpoint without an args.json")
    given = parser.parse_args(argv)
    if not given.path.endswith(".safetensors"):
        parser.error(f"PATH: expected a name that ends in .safetensors, got {given.path}")
    check_path("WEIGHTS", given.weights, ORIGINS)
    _check_backbone(Path(given.weights))
    if Path(given.path).is_dir():
        parser.error(f"PATH: expected a file to write, got a folder, {given.path}")
    check_place("PATH", Path(given.path).parent)
    from solo_ldm.weights.export import export_backbone

    path = export_backbone(given.weights, given.path, given.dtype, backbone_name=given.backbone)
    print(f"wrote {path}")
    print(f'next: solo_ldm.backbones.load_backbone("{path}")  # in Python')
    return 0


def _check_backbone(weights: Path) -> None:
    """Raise a one-line ValueError for a run that has no backbone, or a checkpoint of it."""
    folder = weights.expanduser()
    folder = folder if folder.is_dir() else folder.parent.parent
    if not (folder / "args.json").is_file():
        return
    from solo_ldm.files import read_json
    from solo_ldm.zoo.kinds import KINDS

    if KINDS["predictive"][1] <= read_json(folder / "args.json").keys():
        raise ValueError(
            f"WEIGHTS: expected a backbone of images, got a predictor of time series, {weights}; "
            f"solo-ldm latents {folder} writes its latents, solo_ldm.zoo.load({str(folder)!r}) "
            "loads it in Python"
        )
