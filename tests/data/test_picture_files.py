"""What single picture files hold: numbers of other sizes than bytes, and files that are no files."""

import os
import struct
import zipfile
import zlib
from pathlib import PurePosixPath

import numpy as np
import pytest
from PIL import Image

from workbench.data import DataError, image_folder
from workbench.data.picture_files import PictureFolder, open_pictures

RAMP = np.linspace(0, 1, 16).reshape(4, 4)


def tiff(bits, code, values, *, form=1):
    """A grey TIFF, little-endian, as other programs write them: code is the numbers' kind for numpy."""
    content = np.asarray(values).astype(code).tobytes()
    tags = [(256, 4), (257, 4), (258, bits), (259, 1), (262, 1), (273, 8), (277, 1), (278, 4), (279, len(content))]
    tags.append((339, form))
    entries = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in tags)
    directory = struct.pack("<H", len(tags)) + entries + b"\0\0\0\0"
    return b"II*\0" + struct.pack("<I", 8 + len(content)) + content + directory


def png16(rgb):
    """A PNG of 16 bits and three colours, which Pillow cannot write."""

    def chunk(name, content):
        return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))

    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in rgb)
    height, width = rgb.shape[:2]
    head = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 16, 2, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + head + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


def read(tmp_path, name, content, *, grey=True):
    (tmp_path / name).write_bytes(content)
    with PictureFolder(tmp_path) as pictures:
        assert pictures.is_grey(PurePosixPath(name)) is grey
        return pictures.pixels(PurePosixPath(name), None, grey=grey)


def test_numbers_of_a_known_range_are_scaled_to_bytes(tmp_path):
    wanted = (RAMP * 255).round()
    deep = (RAMP * 65535).round()
    close = {"atol": 1}
    np.testing.assert_allclose(read(tmp_path, "a.tif", tiff(16, "<u2", deep)), wanted, **close)
    np.testing.assert_allclose(read(tmp_path, "b.tif", tiff(32, "<f4", RAMP, form=3)), wanted, **close)
    np.testing.assert_allclose(read(tmp_path, "c.tif", tiff(8, "<u1", wanted)), wanted)
    pgm = b"P5 4 4 65535\n" + deep.astype(">u2").tobytes()
    np.testing.assert_allclose(read(tmp_path, "d.pgm", pgm), wanted, **close)
    pgm = b"P5 4 4 1023\n" + (RAMP * 1023).round().astype(">u2").tobytes()
    np.testing.assert_allclose(read(tmp_path, "e.pgm", pgm), wanted, **close)
    Image.fromarray(deep.astype(np.uint16)).save(tmp_path / "f.png")
    np.testing.assert_allclose(read(tmp_path, "f.png", (tmp_path / "f.png").read_bytes()), wanted, **close)
    colours = np.stack([deep, deep.T, 65535 - deep], axis=2)
    read_colours = read(tmp_path, "g.png", png16(colours), grey=False)
    np.testing.assert_allclose(read_colours, colours / 257, **close)


def test_twelve_bits_are_scaled_by_what_they_hold(tmp_path):
    values = (RAMP * 4095).round().astype(int).reshape(-1, 2)
    packed = bytes(b for a, c in values for b in (a >> 4, (a & 15) << 4 | c >> 8, c & 255))
    content = tiff(12, "<u1", np.frombuffer(packed, np.uint8))
    np.testing.assert_allclose(read(tmp_path, "a.tif", content), (RAMP * 255).round(), atol=1)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (tiff(32, "<i4", RAMP * 255, form=2), r"a\.tif holds signed whole numbers of 32 bits"),
        (tiff(32, "<u4", RAMP * 255), r"a\.tif holds unsigned whole numbers of 32 bits"),
        (tiff(16, "<i2", RAMP * 255, form=2), r"a\.tif holds signed whole numbers of 16 bits"),
        (tiff(32, "<f4", RAMP * 255, form=3), r"a\.tif holds floating point numbers from 0 to 255"),
        (tiff(32, "<f4", RAMP * np.nan, form=3), r"a\.tif holds floating point numbers from nan to nan"),
    ],
)
def test_numbers_of_no_known_range_are_refused_by_name(tmp_path, content, message):
    with pytest.raises(DataError, match=message):
        read(tmp_path, "a.tif", content)


def test_a_picture_that_unpacks_to_far_more_is_refused(tmp_path):
    head = b"\x89PNG\r\n\x1a\n" + b"\0\0\0\rIHDR"
    content = head + struct.pack(">IIBBBBB", 20_000, 20_000, 8, 0, 0, 0, 0)
    content += struct.pack(">I", zlib.crc32(content[12:])) + b"\0\0\0\0IEND" + struct.pack(">I", zlib.crc32(b"IEND"))
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "0.png").write_bytes(content)
    with pytest.raises(DataError, match=r"0\.png has 20000×20000 pixels, more than|cannot be read as an image"):
        image_folder(tmp_path)


def test_all_images_together_have_a_limit(tmp_path, monkeypatch):
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        for i in range(3):
            Image.new("L", (100, 100)).save(tmp_path / name / f"{i}.png")
    monkeypatch.setattr("workbench.data.folder._MOST_BYTES", 50_000)
    with pytest.raises(DataError, match=r"6 images of 100×100 pixels .*: pass size="):
        image_folder(tmp_path)
    assert image_folder(tmp_path, size=8).shape == (1, 8, 8)


def test_links_that_lead_nowhere_and_pipes_are_refused_not_waited_for(tmp_path):
    for make in (lambda p: p.symlink_to(tmp_path / "nowhere"), os.mkfifo, lambda p: p.symlink_to("/dev/zero")):
        path = tmp_path / "a" / "0.png"
        path.parent.mkdir(exist_ok=True)
        make(path)
        with pytest.raises(DataError, match=r"a/0\.png is no file: a link that leads nowhere, a pipe or a device"):
            image_folder(tmp_path)
        path.unlink()


@pytest.mark.parametrize("name", ["../out/0.png", "/etc/0.png", "a/../../0.png"])
def test_a_zip_cannot_name_what_lies_outside_it(tmp_path, name):
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr(name, b"x")
    with pytest.raises(DataError, match="lies outside the zip's own folder"):
        open_pictures(tmp_path / "a.zip")


def test_an_entry_that_is_there_twice_is_refused(tmp_path):
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr("a/0.png", b"x")
        with pytest.warns(UserWarning, match="Duplicate"):
            archive.writestr("a/0.png", b"y")
    with pytest.raises(DataError, match=r"a/0\.png is there twice"):
        open_pictures(tmp_path / "a.zip")
