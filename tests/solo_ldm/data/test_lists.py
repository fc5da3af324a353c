"""Text files that list images."""

import pytest

from solo_ldm.data import DataConfig, load_source
from tests.support.data.images import load, names_of, refusal, save, write


def make_list(root, jpeg, text, name="list.txt", images=("a.jpg", "sub/b.JPG", "my c.png")):
    for image in images:
        write(root / image, jpeg)
    (root / name).write_text(text)
    return {"dataset": "custom", "train_path": str(root / name), "val_fraction": 0.0}


@pytest.mark.parametrize("separator", ["\t", ",", " ", ", ", "   "])
@pytest.mark.parametrize("quote", ["", '"'])
def test_a_list_labels_its_images_by_name(tmp_path, jpeg, separator, quote):
    rows = [("a.jpg", "wasp"), ("sub/b.JPG", "ant hill"), ("my c.png", "wasp")]
    text = "".join(
        f"{quote}{image}{quote}{separator}{quote}{label}{quote}\n" for image, label in rows
    )
    source = load(**make_list(tmp_path, jpeg, text))
    assert (source.classes, source.labels.tolist()) == (("ant hill", "wasp"), [1, 0, 1])
    assert names_of(source) == ["a.jpg", "b.JPG", "my c.png"]
    assert source.load(1).size == (2, 2)


def test_numbers_of_a_list_are_sorted_by_value_and_minus_one_is_no_label(tmp_path, jpeg):
    images = [f"{number}.png" for number in range(4)]
    text = "0.png 10\n1.png 2\n2.png -1\n3.png 2\n"
    source = load(**make_list(tmp_path, jpeg, text, images=images))
    assert (source.classes, source.labels.tolist()) == (("2", "10"), [1, 0, -1, 0])


def test_a_list_without_labels_is_unlabelled(tmp_path, jpeg):
    config = make_list(tmp_path, jpeg, f"a.jpg\n{tmp_path / 'sub' / 'b.JPG'}\nmy c.png")
    source = load(**config)
    assert (len(source), source.classes, set(source.labels)) == (3, (), {-1})
    assert load_source(DataConfig(**config), "val") is None


def test_headings_comments_empty_lines_and_windows_endings_of_a_list_are_skipped(tmp_path, jpeg):
    text = "\ufeff# mine\r\npath,label\r\n#a.jpg,z\r\n\r\na.jpg,x\r\nsub/b.JPG,y\r\n"
    config = make_list(tmp_path, jpeg, "", "list.csv")
    (tmp_path / "list.csv").write_bytes(text.encode())
    source = load(**config)
    assert (len(source), source.classes) == (2, ("x", "y"))


def test_an_image_whose_name_begins_like_a_heading_is_no_heading(tmp_path, jpeg):
    text = "image 1.png\na.jpg\n"
    assert len(load(**make_list(tmp_path, jpeg, text, images=("image 1.png", "a.jpg")))) == 2


@pytest.mark.parametrize(
    ("row", "kind", "message"),
    [
        ("notes", ValueError, "line 3: expected the path of an image"),
        ("a.jpg,1,0.5", ValueError, "line 3: expected the path of an image"),
        ("my c.png", ValueError, "line 3: no label, but the first image has one"),
        ("gone.jpg x", FileNotFoundError, "line 3: no file"),
        ("nowhere/gone.jpg x", FileNotFoundError, "line 3: no file"),
    ],
)
def test_a_bad_line_of_a_list_is_named_by_its_number(tmp_path, jpeg, row, kind, message):
    config = make_list(tmp_path, jpeg, f"a.jpg x\nsub/b.JPG y\n{row}\n")
    line = refusal(kind, **config)
    assert line.startswith("data.train_path: ")
    assert message in line


def test_a_label_behind_unlabelled_images_is_named_by_its_line(tmp_path, jpeg):
    config = make_list(tmp_path, jpeg, "a.jpg\nsub/b.JPG y\n")
    assert "line 2: a label, but the first image has none" in refusal(ValueError, **config)
    assert len(load(**config, no_labels=True)) == 2


def test_a_list_of_one_class_and_an_empty_one_are_refused(tmp_path, jpeg):
    config = make_list(tmp_path, jpeg, "a.jpg x\nsub/b.JPG x\n")
    assert "the one class x" in refusal(ValueError, **config)
    assert "lists no images" in refusal(ValueError, **make_list(tmp_path, jpeg, "# none\n"))


def test_a_list_validates_folders_and_the_other_way_round(tmp_path, jpeg):
    config = make_list(tmp_path, jpeg, "a.jpg x\nsub/b.JPG y\nmy c.png x\n")
    for name in ("x", "y"):
        write(tmp_path / "folders" / name / "0.png", jpeg)
    places = [config["train_path"], str(tmp_path / "folders")]
    for (one, other), count in ((places, 2), (places[::-1], 3)):
        val = load("val", dataset="custom", train_path=one, val_path=other)
        assert (len(val), val.classes) == (count, ("x", "y"))


def test_a_validation_list_of_other_classes_is_refused(tmp_path, jpeg):
    train = make_list(tmp_path, jpeg, "a.jpg x\nsub/b.JPG y\n")
    val = make_list(tmp_path, jpeg, "a.jpg x\nsub/b.JPG z\n", "val.txt")["train_path"]
    message = refusal(ValueError, "val", **train, val_path=val)
    assert "only in train: y; only in val: z" in message


def test_a_share_of_a_list_is_held_out_and_a_fraction_taken(tmp_path, jpeg):
    images = [f"{number}.png" for number in range(20)]
    text = "".join(f"{image} {number % 2}\n" for number, image in enumerate(images))
    config = make_list(tmp_path, jpeg, text, images=images) | {"val_fraction": 0.2}
    for number, image in enumerate(images):  # copies would not be held out
        save(tmp_path / image, (number, 0, 0))
    assert sorted(load("val", **config).labels) == [0, 0, 1, 1]
    train = load(**config, fraction=0.5)
    assert sorted(train.labels) == [0] * 4 + [1] * 4
    assert not set(names_of(train)) & set(names_of(load("val", **config)))


def test_an_image_is_no_list(tmp_path):
    path = save(tmp_path / "image.png", (1, 2, 3))
    message = refusal(ValueError, dataset="custom", train_path=str(path))
    assert message.startswith("data.train_path: expected a folder of images, or a text file")
    assert f"got {path}, which is neither" in message
