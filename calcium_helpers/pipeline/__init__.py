"""The whole analysis in one call: ``run(movie, config) -> Results``, each step resumable."""

from calcium_helpers.pipeline.config import PipelineConfig
from calcium_helpers.pipeline.detectors import DETECTORS
from calcium_helpers.pipeline.given import Given
from calcium_helpers.pipeline.imported import load_caiman, load_suite2p
from calcium_helpers.pipeline.plan import Plan, plan
from calcium_helpers.pipeline.run import run
from calcium_helpers.pipeline.summary import score_against_truth

__all__ = ["DETECTORS", "Given", "PipelineConfig", "Plan", "load_caiman", "load_suite2p", "plan", "run", "score_against_truth"]
