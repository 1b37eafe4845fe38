"""``metadata.yaml``: what an NWB file must say of a session and no movie knows; nothing of it is ever made up."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Callable, Mapping
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any, NamedTuple

from calcium_helpers.io.errors import MovieFileError
from calcium_helpers.io.save import atomic_path
from calcium_helpers.io.yaml_values import as_type, read_yaml, say_type

_SPAN = (
    r"P(?!$)(\d+(\.\d+)?Y)?(\d+(\.\d+)?M)?(\d+(\.\d+)?W)?(\d+(\.\d+)?D)?(T(?=\d)(\d+(\.\d+)?H)?(\d+(\.\d+)?M)?(\d+(\.\d+)?S)?)?"
)
_AGE = rf"{_SPAN}(/({_SPAN})?)?|/{_SPAN}"
_SPECIES = r"[A-Z][a-z]* [a-z]+|http://purl\.obolibrary\.org/obo/NCBITaxon_\d+"
_WEIGHT = r"\d+(\.\d+)? (kg|g|mg)"
_NAMES = tuple[str, ...]
WORM = "Caenorhabditis elegans"


class Key(NamedTuple):
    """What a key may hold: its type, what it means, whether it must be there, and which values are right."""

    kind: Any
    text: str
    required: bool = False
    holds: Callable[[Any], object] = bool


def _form(pattern: str) -> Callable[[str], object]:
    return lambda value: re.fullmatch(pattern, value)


def _is_past(moment: datetime) -> bool:
    return moment.tzinfo is not None and moment <= datetime.now(UTC)


def _is_wavelength_nm(number: float) -> bool:
    return 200 <= number <= 3000


KEYS: dict[str, dict[str, Key]] = {
    "session": {
        "session_start_time": Key(
            datetime, "when the recording began, with the time zone, as in 2026-01-31T14:05:00+01:00", True, _is_past
        ),
        "session_description": Key(str, "what was recorded, in a sentence", True),
        "identifier": Key(str, "unique name of the file; without one, a random number (UUID) is taken"),
        "session_id": Key(str, "the laboratory's own name of the session, without /", False, _form("[^/]+")),
        "experimenter": Key(_NAMES, 'who recorded, as in ["Last, First", "Last, First M."]'),
        "institution": Key(str, "university or institute"),
        "lab": Key(str, "laboratory"),
        "experiment_description": Key(str, "what the experiment is for"),
        "keywords": Key(_NAMES, "words to find the session by, as in [vision, layer 2/3]"),
        "related_publications": Key(_NAMES, 'as in ["doi:10.7554/eLife.78362"]'),
        "protocol": Key(str, "protocol of the experiment, or its number"),
        "surgery": Key(str, "surgeries, with dates and who did them"),
        "virus": Key(str, "viruses, with place, date and volume of the injection"),
        "pharmacology": Key(str, "drugs, how and when they were given; anaesthesia"),
        "stimulus_notes": Key(str, "stimuli, and how they were shown"),
        "notes": Key(str, "what else should be known"),
    },
    "subject": {
        "subject_id": Key(str, "name of the animal, without /", True, _form("[^/]+")),
        "species": Key(str, "Latin name of two words, as in Mus musculus, or NCBI's address of it", True, _form(_SPECIES)),
        "sex": Key(str, f"M, F, O (other) or U (unknown); of {WORM} XO or XX", True, _form("M|F|O|U|XO|XX")),
        "age": Key(
            str, "at the session, as ISO 8601 has it: P90D for 90 days, P12W/P14W for 12 to 14 weeks; or give date_of_birth",
            True, _form(_AGE),
        ),
        "date_of_birth": Key(date, "as in 2025-10-31"),
        "strain": Key(str, "as in C57BL/6J"),
        "genotype": Key(str, "as in Thy1-GCaMP6s/wt"),
        "weight": Key(str, "with its unit, as in 0.025 kg", False, _form(_WEIGHT)),
        "description": Key(str, "what else should be known of the animal"),
    },
    "device": {
        "name": Key(str, "the microscope, without / and :", True, _form("[^/:]+")),
        "description": Key(str, "maker and model, objective, laser"),
        "serial_number": Key(str, "of the microscope"),
    },
    "imaging": {
        "indicator": Key(str, "as in GCaMP6f", True),
        "excitation_nm": Key(float, "wavelength that excites, nanometres", True, _is_wavelength_nm),
        "emission_nm": Key(float, "wavelength that is recorded, nanometres: the centre of the filter", True, _is_wavelength_nm),
        "location": Key(str, "part of the brain; of mice as the Allen atlas names it, as in VISp or Primary visual area", True),
        "description": Key(str, "of the plane: its depth, layer, what is seen in it"),
        "modality": Key(str, "2p or 1p, only where the results do not say, as those of other programs", False, _form("2p|1p")),
    },
}  # fmt: skip


class Metadata(NamedTuple):
    """What was said of the session, by section; keys without a value are absent."""

    session: dict[str, Any]
    subject: dict[str, Any]
    device: dict[str, Any]
    imaging: dict[str, Any]


def write_template(path: str | Path) -> None:
    """Write a ``metadata.yaml`` with all keys, empty, and what they mean.

    Parameters
    ----------
    path : path
        Must not exist.

    Raises
    ------
    MovieFileError
        When it does.
    """
    path = Path(path)
    if path.exists():
        raise MovieFileError(path, "is there already, and is not replaced", "Name another file")
    lines = ["# What calcium-helpers nwb cannot know of a session. What is not required may stay empty."]
    for section, keys in KEYS.items():
        lines += ["", f"{section}:"]
        for name, key in keys.items():
            text = f"{'required: ' if key.required else ''}{key.text}"
            lines += [*textwrap.wrap(text, 110, initial_indent="  # ", subsequent_indent="  # "), f"  {name}:"]
    with atomic_path(path) as part:
        part.write_text("\n".join(lines) + "\n", encoding="utf-8")


def read_metadata(source: str | Path | Mapping[str, Any]) -> Metadata:
    """Read and check metadata.

    Parameters
    ----------
    source : path or mapping
        A ``metadata.yaml``, or its content.

    Returns
    -------
    Metadata

    Raises
    ------
    MovieFileError
        Names every key that is missing, unknown or holds what it must not.
    """
    name = "metadata" if isinstance(source, Mapping) else Path(source)
    given = source if isinstance(source, Mapping) else read_yaml(Path(source))
    missing: list[str] = []
    wrong = [f"{section} is an unknown section" for section in given if section not in KEYS]
    said = Metadata(*(_read_section(section, given.get(section), missing, wrong) for section in KEYS))
    species, sex = said.subject.get("species"), said.subject.get("sex")
    if species and sex and (species == WORM) != (sex in ("XO", "XX")):
        wrong.append(f"subject.sex is {sex!r} of {species}, expected {KEYS['subject']['sex'].text}")
    if problems := [*([f"lacks {', '.join(missing)}"] if missing else []), *wrong]:
        raise MovieFileError(name, "; ".join(problems), "Correct this: --template FILE.yaml writes all keys, explained")
    if "date_of_birth" in said.subject:  # NWB has a time there: the day begins where the session was
        born, zone = said.subject["date_of_birth"], said.session["session_start_time"].tzinfo
        said.subject["date_of_birth"] = datetime(born.year, born.month, born.day, tzinfo=zone)
    return said


def _read_section(section: str, given: Any, missing: list[str], wrong: list[str]) -> dict[str, Any]:
    """Return the values of a section; add the keys that are missing, and what is wrong with others, to the lists."""
    given = {} if given is None else given
    if not isinstance(given, Mapping):
        wrong.append(f"{section} is {given!r:.50}, expected keys with values")
        return {}
    wrong += [f"{section}.{name} is an unknown key" for name in given if name not in KEYS[section]]
    found = {}
    for name, key in KEYS[section].items():
        value = given.get(name)
        if value is None or value in ([], ()) or (isinstance(value, str) and not value.strip()):
            if key.required and not (name == "age" and given.get("date_of_birth")):
                missing.append(f"{section}.{name}")
            continue
        value = [value] if key.kind is _NAMES and isinstance(value, str) else value
        try:
            found[name] = as_type(list(value) if isinstance(value, tuple) else value, key.kind)
            if not key.holds(found[name]):
                raise ValueError
        except (TypeError, ValueError):
            wrong.append(f"{section}.{name} is {value!r:.50}, expected {say_type(key.kind)}: {key.text}")
    return found
