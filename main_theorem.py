"""Check the theorem on identifiable latents: python main_theorem.py [seeds=[0,1]] [steps=3000]."""

from solo_ldm.cli import theorem_command

if __name__ == "__main__":
    theorem_command()
