"""``calcium-helpers train|optimize|predict msct-unet --config FILE.yaml``: networks for synaptic transients."""

from __future__ import annotations

import argparse
from pathlib import Path

from calcium_helpers.cli.msct_config import KINDS, describe_keys, write_template

OPTIMIZE = """Choose thresholds by the labelled events of the group valid, of which some may be missing: where squared recall
over the number of events called is greatest. Writes thresholds.json into the folder of the network."""

PREDICT = """Find the synaptic transients of motion-corrected movies. Each gets a folder with events.csv, label.tif (0 outside
events, inside the number in the column label), features.csv and transients.png. Run again to go on."""


def add_optimize(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> argparse.ArgumentParser:
    """Add the command ``optimize``."""
    return _add(commands, "optimize", "choose the thresholds of a network for synaptic transients", OPTIMIZE)


def add_predict(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> argparse.ArgumentParser:
    """Add the command ``predict``."""
    predict = _add(commands, "predict", "find synaptic transients in movies", PREDICT)
    predict.add_argument("--force", action="store_true", help="replace what another network or other settings found")
    return predict


def _add(
    commands: argparse._SubParsersAction[argparse.ArgumentParser], name: str, text: str, description: str
) -> argparse.ArgumentParser:
    """Add a command that reads settings."""
    layout = argparse.RawDescriptionHelpFormatter
    command = commands.add_parser(name, help=text, description=description, epilog=describe_keys(), formatter_class=layout)
    command.add_argument("network", choices=KINDS, help="3D U-Net or StarDist-3D")
    add_settings(command.add_mutually_exclusive_group(required=True))
    command.add_argument("--device", default="cpu", help="cpu or cuda (default: cpu)")
    command.add_argument("-q", "--quiet", action="store_true", help="no progress bars")
    command.add_argument("-v", "--verbose", action="store_true", help="say more, with tracebacks")
    return command


def add_settings(group: argparse._ArgumentGroup) -> None:
    """Add the options that name a file of settings."""
    group.add_argument("--config", type=Path, metavar="FILE", help="settings (.yaml), see below")
    group.add_argument("--template", type=Path, metavar="FILE", help="write settings to change, with their defaults, and end")


def run_msct(options: argparse.Namespace) -> int:
    """Write settings to start from, or train, choose thresholds or find transients by them."""
    if options.template:
        write_template(options.network, options.template)
        print(f"{options.template}: change what is yours, then train, optimize or predict {options.network} --config with it")
        return 0
    from calcium_helpers.cli import msct_predict, msct_train
    from calcium_helpers.motion.gpu import find_device

    find_device(options.device)
    runs = {"train": msct_train.run_train, "optimize": msct_train.run_optimize, "predict": msct_predict.run_predict}
    return runs[options.command](options)
