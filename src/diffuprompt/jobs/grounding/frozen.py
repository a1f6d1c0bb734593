"""Which frozen networks a grounding job works with, by name; no weights are loaded here."""

from __future__ import annotations

from diffuprompt.errors import ConfigError
from diffuprompt.grounding import BUNDLED_DETECTOR
from diffuprompt.jobs.grounding.job import AUTO, GroundingJobConfig

DETECTORS = {"scenes": BUNDLED_DETECTOR, "crowds": BUNDLED_DETECTOR, "collages": "collages-glip"}
CLIPS = {"scenes": "scenes-clip", "crowds": "scenes-clip"}  # of pooled features
PHOTO_CLIP = "photo-clip-lite"


def detector_of(job: GroundingJobConfig) -> str:
    """Return the name of the detector, and what ``auto`` means for the data.

    Raises:
        ConfigError: there is no detector for these data.
    """
    if job.detector != AUTO:
        return job.detector
    if job.data not in DETECTORS:
        raise ConfigError(
            "detector: 'auto' knows the made worlds only; for your own pictures name one, "
            "for example openmmlab-community/mm_grounding_dino_tiny_o365v1_goldg"
        )
    return DETECTORS[job.data]


def clip_of(job: GroundingJobConfig) -> str:
    """Return the name of the CLIP whose pooled features the paper's condition reads."""
    return CLIPS.get(job.data, PHOTO_CLIP)
