"""What several stories of the models share: one fitted candidate with its evaluation."""

from dataclasses import dataclass

import pyarrow as pa
import pytest

from models.evaluation import evaluate
from models.gate import Evaluation
from models.training import Candidate, train
from tests.models.made import USE_CASE, cohort


@dataclass(frozen=True)
class Trained:
    """A candidate, how it did, and the frame that it was fitted on."""

    frame: pa.Table
    candidate: Candidate
    evaluation: Evaluation


@pytest.fixture(scope="session")
def trained() -> Trained:
    """A candidate of 3,000 rows; its gate passes."""
    frame = cohort(3_000)
    return Trained(frame, train(USE_CASE, frame, seed=1), evaluate(USE_CASE, frame, seed=1, resamples=100))
