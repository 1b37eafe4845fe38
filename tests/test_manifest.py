"""The manifest: parsing, finding, downloading, comparing."""

import hashlib
import os
import re
import shutil
import subprocess
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest
import yaml

from calcium_helpers import manifest
from calcium_helpers.containers import Movie
from calcium_helpers.download import compute_digest
from calcium_helpers.manifest import Entry, fetch, find, load, read_manifest, verify
from calcium_helpers.results import Simulation

CONTENT = b"calcium" * 1000
GENERAL = {"kind": "spikes", "what": "test", "licence": "MIT"}
DATA = os.environ.get("CALCIUM_DATA_DIR")
needs_data = pytest.mark.skipif(not DATA, reason="CALCIUM_DATA_DIR is not set")


class Server(BaseHTTPRequestHandler):
    """Serves ``contents``; promises more than it sends for paths that contain "cut"."""

    contents: dict[str, bytes]

    def do_GET(self):
        body = self.contents.get(self.path.rpartition("/")[2])
        self.send_response(404 if body is None else 200)
        body = body or b"absent"
        self.send_header("Content-Length", str(len(body) * (2 if "cut" in self.path else 1)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args):
        """Stay quiet."""


@pytest.fixture
def server():
    """Contents to serve and the address they are served from."""
    handler = type("Handler", (Server,), {"contents": {}})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as httpd:
        thread = threading.Thread(target=httpd.serve_forever, daemon=True)
        thread.start()
        yield handler.contents, f"http://127.0.0.1:{httpd.server_port}/"
        httpd.shutdown()


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    """Empty cache, no data folder, no proxy."""
    monkeypatch.setenv("CALCIUM_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.delenv("CALCIUM_DATA_DIR", raising=False)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    return tmp_path / "cache"


@pytest.fixture
def make(tmp_path):
    """Builds an entry by way of a YAML file."""

    def make(**fields) -> Entry:
        path = tmp_path / "manifest.yaml"
        path.write_text(yaml.safe_dump({"entries": {"sample": {**GENERAL, **fields}}}))
        return read_manifest(path)[0]

    return make


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def test_every_file_of_the_manifest_can_be_checked():
    files = [(entry, file) for entry in manifest.entries() for file in entry.files]
    assert {entry.name for entry, file in files if file.digest is None} == {"neurofinder_00_00", "spikefinder_train"}
    assert len({file.path for _, file in files}) == len(files) > 250
    assert all(entry.licence and entry.what for entry in manifest.entries())
    assert [entry.name for entry in manifest.entries()][:2] == ["demo_2p", "demo_1p"]


def test_an_unknown_name_lists_near_ones():
    with pytest.raises(ValueError, match=r"'neurofinder_8hz' is not in the manifest: did you mean neurofinder_7hz"):
        find("neurofinder_8hz")
    with pytest.raises(ValueError, match="`calcium-helpers list` shows all"):
        fetch("%%%")


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"path": "a", "sha256": "abc"}, "sha256 must be null or 64 hexadecimal digits, got 'abc'"),
        ({"path": "a", "git_blob": "0" * 64}, "git_blob must be null or 40 hexadecimal digits"),
        ({"path": "a"}, "a needs one of sha256, git_blob"),
        ({"path": "../a", "sha256": None}, "path must be relative and stay inside its folder, got '../a'"),
        ({"path": "a", "sha256": None, "fs": 0}, "fs must be above 0 Hz, got 0"),
        ({"path": "a", "sha256": None, "shape": [1, 2]}, r"shape must be \[frames, rows, columns\], got \(1, 2\)"),
        ({"path": "a", "sha256": None, "lisense": "MIT"}, "unexpected keyword argument 'lisense'"),
        ({"path": "a", "sha256": None, "kind": "film"}, "kind must be one of .* got 'film'"),
        ({"url": "ftp://host/a", "sha256": None}, "url must be https or http, got 'ftp://host/a'"),
        ({"generate": "three_photon", "shape": [1, 8, 8], "fs": 1}, "generate must be one of .* got 'three_photon'"),
        ({"generate": "two_photon"}, "generate needs shape and fs"),
        ({"generate": "two_photon", "shape": [1, 8, 8], "fs": 1, "path": "a", "sha256": None}, "generate excludes path"),
        ({"kind": "page"}, "a page needs a url"),
        ({}, "one of generate, path and url is needed"),
    ],
)
def test_a_faulty_entry_is_refused_by_name(make, fields, message):
    with pytest.raises(ValueError, match=f"entry 'sample': .*{message}"):
        make(**fields)


def test_git_names_content_as_we_do(tmp_path):
    path = tmp_path / "file"
    path.write_bytes(CONTENT)
    found = subprocess.run(["git", "hash-object", "--no-filters", str(path)], capture_output=True, text=True, check=True)
    assert compute_digest(path, algorithm="git_blob") == found.stdout.strip()


@pytest.mark.parametrize("algorithm", ["sha256", "git_blob"])
def test_a_download_is_compared_and_kept(make, server, cache, algorithm):
    contents, address = server
    contents["a.bin"] = CONTENT
    blob = hashlib.sha1(b"blob 7000\0" + CONTENT).hexdigest()
    entry = make(url=address + "a.bin", **{algorithm: {"sha256": sha256(CONTENT), "git_blob": blob}[algorithm]})
    path = fetch(entry, progress=False)
    assert path == cache / "sample" / "a.bin"
    assert path.read_bytes() == CONTENT
    contents.clear()
    assert fetch(entry, progress=False) == path  # from the cache
    assert list(verify([entry])["status"]) == ["ok"]
    path.write_bytes(CONTENT[:-1])
    assert list(verify([entry])["status"]) == ["mismatch"]
    with pytest.raises(ValueError, match=rf"sample: .*a\.bin differs .*{algorithm} expected .* found .*; delete it"):
        fetch(entry, progress=False)


def test_a_wrong_download_is_not_kept(make, server, cache):
    contents, address = server
    contents["a.bin"] = CONTENT + b"!"
    entry = make(url=address + "a.bin", sha256=sha256(CONTENT))
    with pytest.raises(ValueError, match=r"sample: the download of .* differs from the manifest"):
        fetch(entry, progress=False)
    assert [path for path in cache.rglob("*") if path.is_file()] == []
    assert list(verify([entry])["status"]) == ["missing"]


@pytest.mark.parametrize("name", ["cut.bin", "absent.bin"])
def test_a_failed_download_says_what_to_do(make, server, cache, name):
    contents, address = server
    contents["cut.bin"] = CONTENT
    with pytest.raises(ConnectionError, match="set CALCIUM_DATA_DIR") as caught:
        fetch(make(url=address + name, sha256=None), progress=False)
    assert address + name in str(caught.value)
    assert str(cache / "sample" / name) in str(caught.value)
    assert [path for path in cache.rglob("*") if path.is_file()] == []


def test_offline_says_what_to_do(make, server, cache):
    _, address = server
    closed = re.sub(r":\d+/", ":9/", address)  # the discard port: nobody listens
    with pytest.raises(ConnectionError, match=r"could not download .* For sample: set CALCIUM_DATA_DIR .* or save it as"):
        fetch(make(url=closed + "a.bin", sha256=sha256(CONTENT)), progress=False)
    by_hand = cache / "sample" / "a.bin"
    by_hand.parent.mkdir(parents=True, exist_ok=True)
    by_hand.write_bytes(CONTENT)
    assert fetch(make(url=closed + "a.bin", sha256=sha256(CONTENT)), progress=False) == by_hand


def test_without_a_published_hash_the_first_one_holds(make, server, cache):
    contents, address = server
    contents["a.bin"] = CONTENT
    entry = make(url=address + "a.bin", sha256=None)
    path = fetch(entry, progress=False)
    assert (cache / "sample" / "a.bin.sha256").read_text().strip() == sha256(CONTENT)
    path.unlink()
    contents["a.bin"] = CONTENT + b"changed"
    with pytest.raises(ValueError, match=f"expected {sha256(CONTENT)}, found {sha256(CONTENT + b'changed')}"):
        fetch(entry, progress=False)
    assert not path.exists()


def test_the_data_folder_comes_first(make, server, tmp_path, monkeypatch):
    contents, address = server
    contents.update({"a.bin": CONTENT, "b.bin": b"b"})
    files = {"a.bin": {"sha256": sha256(CONTENT)}, "b.bin": {"sha256": sha256(b"b")}}
    entry = make(url=address, path="set", files=files)
    downloaded = fetch(entry, progress=False)
    assert sorted(path.name for path in downloaded.iterdir()) == ["a.bin", "b.bin"]
    shutil.copytree(downloaded, tmp_path / "data" / "set")
    monkeypatch.setenv("CALCIUM_DATA_DIR", str(tmp_path / "data"))
    assert fetch(entry, progress=False) == tmp_path / "data" / "set"
    (tmp_path / "data" / "set" / "b.bin").unlink()  # incomplete: the cache again
    assert fetch(entry, progress=False) == downloaded


def test_a_file_that_cannot_be_downloaded_says_where_to_put_it(make):
    with pytest.raises(FileNotFoundError, match=r"sample: a\.tif cannot be downloaded: set CALCIUM_DATA_DIR .*now not set"):
        fetch(make(path="a.tif", sha256=None))


def test_what_has_no_file_or_is_no_movie_is_refused(make):
    with pytest.raises(ValueError, match=r"demo_2p has no file to fetch: use load\('demo_2p'\)"):
        fetch("demo_2p")
    with pytest.raises(ValueError, match="msct has no file to fetch: open https://"):
        fetch("msct")
    with pytest.raises(ValueError, match=r"sample is of kind 'labels', not a movie or spikes: fetch\('sample'\)"):
        load(make(kind="labels", path="a", sha256=None))


def test_a_movie_is_loaded_with_its_rate(make, tmp_path, monkeypatch):
    frames = np.arange(60, dtype=np.uint16).reshape(3, 4, 5)
    np.save(tmp_path / "a.npy", frames)
    monkeypatch.setenv("CALCIUM_DATA_DIR", str(tmp_path))
    movie = load(make(kind="movie", path="a.npy", sha256=None, fs=12.5), progress=False)
    assert isinstance(movie, Movie)
    assert movie.fs == 12.5
    np.testing.assert_array_equal(movie.frames(), frames)


@pytest.mark.parametrize(("generate", "fs"), [("two_photon", 30.0), ("one_photon", 20.0)])
def test_a_simulation_comes_as_the_entry_says(make, generate, fs):
    entry = make(kind="movie", generate=generate, shape=[20, 64, 72], fs=fs, parameters={"n_cells": 4}, seed=3)
    simulation, again = load(entry, progress=False), load(entry, progress=False)
    assert isinstance(simulation, Simulation)
    assert (simulation.movie.shape, simulation.movie.fs, len(simulation.footprints)) == ((20, 64, 72), fs, 4)
    np.testing.assert_array_equal(simulation.movie.frames(), again.movie.frames())


@needs_data
@pytest.mark.real
def test_the_recordings_at_hand_are_those_of_the_manifest(monkeypatch):
    monkeypatch.setenv("CALCIUM_DATA_DIR", str(DATA))
    local = [entry for entry in manifest.entries() if entry.path and (Path(str(DATA)) / entry.path).exists()]
    assert {"neurofinder_7hz", "miniscope"} <= {entry.name for entry in local}
    assert set(verify(local)["status"]) == {"ok"}
    for entry in local:
        if entry.kind == "movie":
            movie = load(entry, progress=False)
            assert (movie.shape, movie.fs) == (entry.shape, entry.fs)
