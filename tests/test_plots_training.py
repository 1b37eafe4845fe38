"""The picture of a training: what was measured is where it belongs, the best step is marked, odd histories are drawn."""

import numpy as np
import pytest
from matplotlib.figure import Figure

from calcium_helpers import plots
from calcium_helpers.models.msct.risks import RiskCourse
from calcium_helpers.training import History

STEP, NAN = np.array([100, 200, 300]), np.full(3, np.nan)
LOSS = np.array([3.0, 1.5, 1.2])


def draw(*history):
    ax = plots.show_history(History(*history), score="F1", ax=Figure().subplots())
    ax.figure.canvas.draw()
    return ax


def test_loss_and_score_have_axes_of_their_own_and_the_best_is_marked():
    ax = draw(STEP, LOSS, np.array([0.2, 0.8, 0.7]), 200)
    left, right = ax.figure.axes
    assert left is ax
    for one, values in ((left, LOSS), (right, [0.2, 0.8, 0.7])):
        np.testing.assert_array_equal(one.lines[0].get_xydata(), np.column_stack([STEP, values]))
    assert set(left.lines[1].get_xdata()) == {200}
    assert (left.get_xlabel(), left.get_ylabel(), right.get_ylabel()) == ("step", "training loss", "F1")
    assert right.get_title(loc="left") == "best 0.800 after 200 steps"
    assert left.lines[0].get_color() != right.lines[0].get_color()


@pytest.mark.parametrize(
    ("score", "best", "n_axes"),
    [(NAN, 300, 1), (np.array([np.nan, -1.0, -2.0]), 200, 2), (np.array([np.nan, 0.5, 0.5]), 200, 2)],
)
def test_scores_may_be_missing(score, best, n_axes):
    assert len(draw(STEP, LOSS, score, best).figure.axes) == n_axes


def test_one_look_and_none_are_drawn():
    assert len(draw(STEP[:1], LOSS[:1], np.array([0.5]), 100).figure.axes) == 2
    empty = np.zeros(0)
    assert draw(empty.astype(int), empty, empty, 0).texts[0].get_text() == "Nothing was trained yet"


def test_risks_are_drawn_as_estimated_and_as_they_are():
    courses = {name: RiskCourse(*np.random.default_rng(i).random((3, 20))) for i, name in enumerate(("plain", "unbiased"))}
    ax = plots.show_risks(courses, ax=Figure().subplots())
    drawn = [line.get_ydata().tolist() for line in ax.lines[:4]]
    assert drawn == [values.tolist() for course in courses.values() for values in (course.estimate, course.true)]
    assert [line.get_linestyle() for line in ax.lines[:4]] == ["-", "--"] * 2
    assert [text.get_text() for text in ax.get_legend().get_texts()] == ["plain", "unbiased"]
    ax = plots.show_risks(courses, hidden=True, ax=Figure().subplots())
    assert [line.get_ydata().tolist() for line in ax.lines] == [course.hidden.tolist() for course in courses.values()]
    assert plots.show_risks({}, ax=Figure().subplots()).texts[0].get_text() == "No risk was followed"
