"""Simulated runs whose answer is known: what `calibration.py` counts over 200 seeds."""
