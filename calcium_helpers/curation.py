"""What people decided of cells: which decisions of a log hold, and results with them applied."""

from __future__ import annotations

import re
from collections import Counter
from typing import Any, NamedTuple
from warnings import warn

import numpy as np
import pandas as pd
from scipy import sparse

from calcium_helpers.containers import Events, Traces
from calcium_helpers.results import Results

NEAR_PX = 5.0
"""A unit that lies further from where it was decided is another one: a new run gives ids new meanings."""
STAGE = "decided by people"
_TRACES = ("raw", "neuropil", "dff", "denoised", "spikes")
_TRUTH = "scores against the truth were of the cells before people decided, and are left out"


class Decision(NamedTuple):
    """``verb`` is accept, reject, merge or undo; ``into`` the unit that is merged into, else None."""

    verb: str
    into: int | None = None


def read_decision(text: str, unit: int | None = None) -> Decision:
    """Understand a decision as the log holds it.

    Parameters
    ----------
    text : str
        "accept", "reject", "undo" or "merge into N"; spaces and capitals do not matter.
    unit : int, optional
        The unit that it is about.

    Returns
    -------
    Decision

    Raises
    ------
    ValueError
        For anything else, and where a unit is merged into itself.
    """
    found = re.fullmatch(r"(accept|reject|undo)|merge into (\d+)", " ".join(str(text).lower().split()))
    if not found:
        raise ValueError(f'decision must be "accept", "reject", "merge into N" (N a unit) or "undo", got {text!r}')
    if found[1]:
        return Decision(found[1])
    if int(found[2]) == unit:
        raise ValueError(f"decision: unit {unit} cannot be merged into itself; name another unit")
    return Decision("merge", int(found[2]))


def standing(decisions: pd.DataFrame) -> pd.DataFrame:
    """Return the rows that hold: each ``undo`` cancels the last row not yet cancelled, and the last word on a unit counts.

    Parameters
    ----------
    decisions : DataFrame
        As ``io.curation.load_decisions`` gives it, oldest first.

    Returns
    -------
    DataFrame
        At most one row a unit; the last row is what the next undo cancels.
    """
    held: list[int] = []
    for row, text in enumerate(decisions["decision"]):
        if text != "undo":
            held.append(row)
        elif held:
            held.pop()
    return decisions.iloc[held].drop_duplicates("unit", keep="last")


def apply_decisions(results: Results, decisions: pd.DataFrame, *, count: bool = True) -> Results:
    """Return results as people decided: cells accepted, rejected and merged, and the summary counted anew.

    ``cells`` says who decided in ``reason``. A unit merged into N gives N its footprint (weights are added), its traces (means
    over the joint footprint) and its events (those that overlap in time become one, with the measures of the larger); N counts
    as a cell where one of the two did. The unit itself is no cell any more and stays as it was: ids and rows never change.
    Scores of N, such as its SNR, remain those of N alone. Decisions that were applied before change nothing.

    Parameters
    ----------
    results : Results
        Of a run.
    decisions : DataFrame
        As ``io.curation.load_decisions`` gives it.
    count : bool
        Count summary and funnel anew, which takes seconds in long recordings; otherwise they stay as they were.

    Returns
    -------
    Results

    Warns
    -----
    UserWarning
        Names the decisions that are not applied: their unit is not in the results, or lies more than 5 px from where it was
        when they were made (they are of another run), or would be merged into a unit that is part of it already.
    """
    cells = results.cells_by_id()
    reason = cells["reason"].astype(object).fillna("") if "reason" in cells else pd.Series("", index=cells.index, dtype=object)
    applied, into, stale = _sort_out(results, cells, standing(decisions))
    if stale:
        named = ", ".join(stale[:10]) + (", ..." if len(stale) > 10 else "")
        warn(f"{len(stale)} decisions are not applied: {named}. A new run gives ids new meanings: decide anew", stacklevel=2)
    if not applied:
        return results
    done = reason.str.startswith("merged into")
    changed = _merge(results, {unit: end for unit, end in into.items() if not done[unit]})
    accepted = cells["accepted"].copy()
    for unit, decision, by in applied:
        end = into.get(unit)
        if end is not None and accepted[unit] and not accepted[end]:
            accepted[end], reason[end] = True, f"accepted{by}"
        accepted[unit] = decision.verb == "accept"
        reason[unit] = f"{decision.verb}ed{by}" if end is None else f"merged into {end}{by}"
    cells = _place_again(cells.assign(accepted=accepted, reason=reason.astype(str)), changed, set(into.values()))
    counts = Counter(decision.verb for _, decision, _ in applied)
    what = ", ".join(f"{n} {verb.removesuffix('e')}ed" for verb, n in counts.items())
    counted = _count_again(changed, cells, what) if count else changed
    return counted._replace(
        cells=cells.reset_index() if "id" in results.cells else cells, history=(*results.history, f"{STAGE}: {what}")
    )


def _sort_out(
    results: Results, cells: pd.DataFrame, held: pd.DataFrame
) -> tuple[list[tuple[int, Decision, str]], dict[int, int], list[str]]:
    """Return the decisions that apply, with who made them; into which unit each merged one goes in the end; and the others."""
    ids = cells.index.tolist()
    weight = dict(zip(ids, np.asarray(results.footprints.weights.sum(axis=1)).ravel(), strict=True))
    own = dict(zip(ids, results.footprints.centroids, strict=True))
    joint = dict(own)
    applied: list[tuple[int, Decision, str]] = []
    into: dict[int, int] = {}
    stale: list[str] = []
    for row in held.to_dict("records"):
        unit, decision = int(row["unit"]), read_decision(row["decision"])
        where = np.array([row.get("y_px", np.nan), row.get("x_px", np.nan)], dtype=float)
        end = unit if decision.into is None else decision.into
        while end in into:
            end = into[end]
        if unit not in own or end not in own:
            stale.append(f"unit {unit} ({row['decision']}; is not there any more)")
        # The centre of a unit that others were merged into may be that of all or its own.
        elif min(np.hypot(*(place[unit] - where)) for place in (own, joint)) > NEAR_PX:
            stale.append(f"unit {unit} ({row['decision']}; lies elsewhere now)")
        elif decision.into is not None and end == unit:
            stale.append(f"unit {unit} ({row['decision']}; is part of it already)")
        else:
            applied.append((unit, decision, f" by {row['who']}" if row.get("who") else ""))
            if end != unit:
                into |= {one: end for one, last in into.items() if last == unit} | {unit: end}
                joint[end] = (weight[end] * joint[end] + weight[unit] * joint[unit]) / (weight[end] + weight[unit])
                weight[end] += weight[unit]
    return applied, into, stale


def _merge(results: Results, into: dict[int, int]) -> Results:
    """Add the footprints, traces and events of merged units to those that they go into."""
    if not into:
        return results
    place = {int(unit): row for row, unit in enumerate(results.footprints.ids)}
    weights, n = results.footprints.weights, len(place)
    members, ends = ([place[unit] for unit in units] for units in (into, into.values()))
    added = sparse.csr_matrix((np.ones(len(into)), (ends, members)), shape=(n, n)) + sparse.identity(n)
    share = sparse.csr_matrix(added @ sparse.diags(np.asarray(weights.sum(axis=1)).ravel()))
    share = sparse.diags(1 / np.asarray(share.sum(axis=1)).ravel()) @ share
    rows = np.unique(ends)
    fields: dict[str, Any] = {"footprints": results.footprints.replace(weights=added @ weights)}
    for name in _TRACES:
        traces: Traces = getattr(results, name)
        values = traces.values.copy()
        values[rows] = share[rows] @ traces.values
        fields[name] = traces.replace(values=values)
    table = results.events.table
    for end in sorted(set(into.values())):
        units = [end, *(unit for unit, last in into.items() if last == end)]
        joint = _join_events(table[table["roi"].isin(units)]).assign(roi=end)
        table = pd.concat([table[table["roi"] != end], joint]) if len(joint) else table
    return results._replace(**fields, events=Events(table))


def _join_events(table: pd.DataFrame) -> pd.DataFrame:
    """Make those that overlap in time one, from the first onset to the last offset, otherwise as the largest of them."""
    table = table.sort_values("onset_s", kind="stable")
    group = (table["onset_s"] >= table["offset_s"].cummax().shift()).cumsum().to_numpy()
    largest = table.assign(group=group).sort_values("amplitude", ascending=False, kind="stable").groupby("group").head(1)
    spans = table.groupby(group).agg({"onset_s": "min", "offset_s": "max"})
    largest = largest.set_index("group").sort_index()
    return largest.assign(onset_s=spans["onset_s"], offset_s=spans["offset_s"])


def _place_again(cells: pd.DataFrame, results: Results, units: set[int]) -> pd.DataFrame:
    """Write where units lie that others were merged into, and how large they are."""
    y, x = results.footprints.centroids.T
    new = {"y_px": y, "x_px": x, "area_px": results.footprints.area_px}
    joint = cells.index.isin(list(units))
    return cells.assign(**{name: np.where(joint, values, cells[name]) for name, values in new.items() if name in cells})


def _count_again(results: Results, cells: pd.DataFrame, what: str) -> Results:
    """Put what follows from the cells into summary and funnel."""
    from calcium_helpers.cell_summary import summarise_cells, warn_of_cells  # all that io imports must be light

    old, new = (one["accepted"].to_numpy(dtype=bool) for one in (results.cells_by_id(), cells))
    summary = dict(results.summary)
    counted = summarise_cells(cells, results.dff, results.spikes, in_hz=results.parameters.get("spikes") == "net")
    if summary.get("denoising") and "share_removed" not in cells:  # of an earlier version: nothing to count it from
        counted = {name: value for name, value in counted.items() if name not in {"denoising", "median_noise"}}
    before = [_TRUTH, *warn_of_cells(old, results.dff)]
    warnings = [text for text in summary.get("warnings") or [] if text not in before] + warn_of_cells(new, results.dff)
    if summary.pop("truth", None) or _TRUTH in (summary.get("warnings") or []):
        warnings.append(_TRUTH)
    funnel = results.funnel[results.funnel["stage"] != STAGE]
    funnel = pd.concat(
        [funnel, pd.DataFrame([(STAGE, int(new.sum()), what)], columns=["stage", "n", "why"])], ignore_index=True
    )
    return results._replace(funnel=funnel, summary={**summary, **counted, "warnings": warnings})
