"""Files of one's own on Colab: a stand-in for Colab's module takes the place of Google's dialogues."""

import sys
from pathlib import Path

import pytest

from calcium_helpers import colab

STAND_IN = str(Path(__file__).resolve().parents[1] / "tools/colab")


@pytest.fixture
def on_colab(monkeypatch, tmp_path):
    monkeypatch.syspath_prepend(STAND_IN)
    for name in [name for name in sys.modules if name == "google" or name.startswith("google.")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.chdir(tmp_path)
    __import__("google.colab")
    yield tmp_path
    for name in ("google.colab", "google"):
        sys.modules.pop(name, None)


def test_a_path_is_a_path(tmp_path):
    (tmp_path / "my.tif").touch()
    assert colab.own_file(str(tmp_path / "my.tif")) == tmp_path / "my.tif"
    with pytest.raises(FileNotFoundError, match=r"other\.tif.*no such file"):
        colab.own_file(tmp_path / "other.tif")
    with pytest.raises(ValueError, match="on Google Colab only"):
        colab.own_file("upload")


def test_an_upload(on_colab, monkeypatch):
    (on_colab / "far").mkdir()
    (on_colab / "far/mine.tif").write_bytes(b"frames")
    monkeypatch.setenv("COLAB_UPLOAD", str(on_colab / "far/mine.tif"))
    assert colab.own_file("upload").read_bytes() == b"frames"
    monkeypatch.delenv("COLAB_UPLOAD")
    with pytest.raises(ValueError, match="upload one file, got 0"):
        colab.own_file("upload")


def test_drive_is_mounted_when_it_is_asked_for(on_colab, monkeypatch):
    monkeypatch.setattr(colab, "DRIVE", on_colab / "drive")
    with pytest.raises(FileNotFoundError, match="files on Drive are below"):
        colab.own_file(on_colab / "drive/MyDrive/mine.tif")
    (on_colab / "drive/MyDrive/mine.tif").touch()
    assert colab.own_file(on_colab / "drive/MyDrive/mine.tif").is_file()
