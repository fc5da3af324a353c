"""Images that several tests of data read."""

import pytest
from PIL import Image
from sklearn.datasets import load_sample_images


@pytest.fixture(scope="session")
def jpeg(tmp_path_factory):
    path = tmp_path_factory.mktemp("jpeg") / "one.jpg"
    Image.new("RGB", (2, 2)).save(path)
    return path.read_bytes()


@pytest.fixture(scope="session")
def photographs(tmp_path_factory):
    """A folder of two classes with 20 patches of photographs each, of many sizes and formats."""
    folder = tmp_path_factory.mktemp("photographs")
    for name, photograph in zip(("china", "flower"), load_sample_images().images, strict=True):
        (folder / name).mkdir()
        for number in range(20):
            top, left = 15 * number, 20 * number
            side = 60 + 3 * number
            patch = Image.fromarray(photograph[top : top + side, left : left + 80])
            if number % 5 == 1:
                patch.save(folder / name / f"{number:02}.png")
            elif number % 5 == 2:
                patch.convert("L").save(folder / name / f"{number:02}.jpg")
            elif number % 5 == 3:
                patch.save(folder / name / f"{number:02}.jpg", progressive=True, subsampling=2)
            else:
                patch.save(folder / name / f"{number:02}.jpg", quality=90)
    return folder
