"""``calcium-helpers verify``: every network of the package can be measured again, and a wrong one is found out."""

from dataclasses import replace
from pkgutil import resolve_name

import pytest

from calcium_helpers import manifest
from calcium_helpers.cli import main
from calcium_helpers.cli.verify import CHECKS

WEIGHTS = [entry for entry in manifest.entries() if entry.kind == "weights"]


@pytest.mark.parametrize("entry", WEIGHTS, ids=lambda entry: entry.name)
def test_every_network_has_its_check(entry):
    check = CHECKS[entry.name]
    assert callable(resolve_name(f"calcium_helpers.models.{check.measure}"))
    assert entry.parameters[check.size] >= 1
    assert isinstance(entry.parameters[check.expected], float)


def test_networks_are_measured_and_wrong_ones_found(monkeypatch, capsys):
    (entry,) = (entry for entry in WEIGHTS if entry.name == "spike_gan")
    monkeypatch.setattr(manifest, "entries", lambda: (entry,))
    assert main(["verify", "spike_gan"]) == 0
    expected = entry.parameters["rise"]
    assert f"spike_gan: mean generated rise of dF/F {expected:.3f}, {expected:.3f} when" in capsys.readouterr().out
    for wrong in (expected + 0.02, expected - 0.02, float("nan")):
        changed = replace(entry, parameters={**entry.parameters, "rise": wrong})
        monkeypatch.setattr(manifest, "entries", lambda changed=changed: (changed,))
        assert main(["verify"]) == 2


def test_broken_networks_are_not_measured(monkeypatch, capsys):
    (entry,) = (entry for entry in WEIGHTS if entry.name == "spike_gan")
    files = (replace(entry.files[0], digest="0" * 64), *entry.files[1:])
    monkeypatch.setattr(manifest, "entries", lambda: (replace(entry, files=files),))
    assert main(["verify"]) == 2
    printed = capsys.readouterr().out
    assert "mismatch" in printed
    assert "when it was trained" not in printed
