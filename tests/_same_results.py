"""Whether two runs of the pipeline gave the same."""

import numpy as np
import pandas as pd


def assert_equal(first, second):
    """Equal in all but how long it took and what was found again."""
    for name in ("raw", "neuropil", "dff", "denoised", "spikes"):
        np.testing.assert_array_equal(getattr(first, name).values, getattr(second, name).values, err_msg=name)
        assert getattr(first, name).fs == getattr(second, name).fs
        assert getattr(first, name).kind == getattr(second, name).kind
    np.testing.assert_array_equal(first.footprints.weights.toarray(), second.footprints.weights.toarray())
    np.testing.assert_array_equal(first.footprints.ids, second.footprints.ids)
    pd.testing.assert_frame_equal(first.cells, second.cells, check_exact=True)
    pd.testing.assert_frame_equal(first.events.table, second.events.table, check_exact=True)
    assert first.strip.keys() == second.strip.keys()
    for name, movie in first.strip.items():
        np.testing.assert_array_equal(movie.data, second.strip[name].data, err_msg=name)
        np.testing.assert_array_equal(movie.times_s, second.strip[name].times_s, err_msg=name)
    pd.testing.assert_frame_equal(first.funnel, second.funnel)
    assert first.steps["step"].tolist() == second.steps["step"].tolist()
    assert first.images.keys() == second.images.keys()
    for name, image in first.images.items():
        np.testing.assert_array_equal(image, second.images[name], err_msg=name)
    assert (first.shifts is None) == (second.shifts is None)
    if first.shifts is not None:
        for name in ("yx", "template", "valid", "correlation", "bad_frames", "bidiphase_px"):
            np.testing.assert_array_equal(getattr(first.shifts, name), getattr(second.shifts, name), err_msg=name)
    assert first.history == second.history
    assert {**first.summary, "seconds_total": 0} == {**second.summary, "seconds_total": 0}
