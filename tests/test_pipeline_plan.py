"""A plan: the steps of the run it stands for, and estimates that grow with what they are of."""

from dataclasses import replace

import numpy as np
import pytest

from calcium_helpers import pipeline
from calcium_helpers.containers import Footprints, Movie
from calcium_helpers.denoise import DenoiseConfig
from calcium_helpers.motion import TWO_PHOTON
from calcium_helpers.pipeline import Given, PipelineConfig

CONFIG = PipelineConfig.for_modality("2p")
FRAMES = np.random.default_rng(0).poisson(9, (60, 32, 34)).astype(np.uint16)
OWN = Given(regions=Footprints.from_images(np.eye(32, 34)[None]))


def large(n_frames=20_000, side=512):
    """A movie that takes no memory: one frame, repeated by a stride of zero."""
    frame = np.random.default_rng(0).integers(0, 99, (1, side, side), dtype=np.uint16)
    return Movie(np.broadcast_to(frame, (n_frames, side, side)), fs=30)


@pytest.mark.parametrize(
    ("config", "given"),
    [
        (CONFIG, Given()),
        (replace(CONFIG, motion=None), Given()),
        (replace(CONFIG, denoise=DenoiseConfig()), Given()),
        (CONFIG, OWN),
        (replace(CONFIG, denoise=DenoiseConfig()), OWN),
    ],
    ids=["plain", "still", "denoised", "regions", "denoised-regions"],
)
def test_the_steps_are_those_of_the_run(config, given, tmp_path):
    movie = Movie(FRAMES, fs=10)
    before = pipeline.plan(movie, config, given=given, out=tmp_path)
    assert not before.steps["found"].any()
    assert (before.steps["seconds"] > 0).all()
    assert not list(tmp_path.iterdir())
    results = pipeline.run(movie, config, given=given, out=tmp_path)
    after = pipeline.plan(movie, config, given=given, out=tmp_path)
    again = pipeline.run(movie, config, given=given, out=tmp_path)
    assert before.steps["step"].tolist() == results.steps["step"].tolist()
    assert after.steps["found"].tolist() == (again.steps["note"] == "found from an earlier run").tolist()
    assert (after.steps.loc[after.steps["found"], "seconds"] == 0).all()
    assert after.disk_gb < before.disk_gb or config.motion is None


def test_small_frames_have_no_motion_step():
    movie = Movie(FRAMES[:, :9, :9], fs=10)
    assert pipeline.plan(movie, CONFIG).steps["step"].tolist() == pipeline.run(movie, CONFIG).steps["step"].tolist()


def test_more_takes_more():
    sizes = ((5000, 256), (20_000, 256), (5000, 512))
    once, longer, wider = (pipeline.plan(large(*size), CONFIG, out="none") for size in sizes)
    for name in ("seconds", "memory_gb", "disk_gb"):
        assert getattr(once, name) < getattr(longer, name)
        assert getattr(once, name) < getattr(wider, name)
    assert longer.disk_gb == pytest.approx(4 * once.disk_gb, rel=0.01)
    assert once.disk_gb == pytest.approx(4 * 5000 * 256**2 / 1e9, rel=0.05)
    kept = pipeline.plan(large(5000, 256), CONFIG, out="none", save_movie=True)
    assert kept.disk_gb == pytest.approx(2 * once.disk_gb, rel=0.05)
    nothing_kept = pipeline.plan(large(5000, 256), CONFIG)
    assert nothing_kept.disk_gb < 0.1
    assert nothing_kept.memory_gb > once.memory_gb + 1  # the corrected movie lies in memory then


def test_what_is_left_out_takes_nothing():
    movie = large()
    whole = pipeline.plan(movie, CONFIG)
    rigid = pipeline.plan(movie, replace(CONFIG, motion=replace(TWO_PHOTON, piecewise=False)))
    still = pipeline.plan(movie, replace(CONFIG, motion=None))
    denoised = pipeline.plan(movie, replace(CONFIG, denoise=DenoiseConfig()))
    assert still.seconds < rigid.seconds < whole.seconds < denoised.seconds
    own = pipeline.plan(movie, CONFIG, given=Given(regions=Footprints.from_images(np.eye(512)[None])))
    assert own.seconds < whole.seconds
    assert own.memory_gb < whole.memory_gb


def test_a_limit_is_kept_or_refused():
    movie = large()
    free = pipeline.plan(movie, CONFIG, out="none")
    assert 0.3 < free.least_gb < free.memory_gb
    limited = pipeline.plan(movie, CONFIG, out="none", max_memory_gb=free.least_gb + 0.1)
    assert limited.memory_gb <= free.least_gb + 0.1
    for call in (pipeline.plan, pipeline.run):
        with pytest.raises(ValueError, match=r"max_memory_gb must be at least \d+\.\d GB for this recording, got 0.2 GB"):
            call(movie, CONFIG, max_memory_gb=0.2)
        for wrong in (0, -1, float("nan")):
            with pytest.raises(ValueError, match="max_memory_gb must be a finite number of GB above 0"):
                call(movie, CONFIG, max_memory_gb=wrong)
        with pytest.raises(ValueError, match="detector must be one of"):
            call(movie, replace(CONFIG, detector="best"))
