from .artifact import (
    Artifact as Artifact,
    load_artifact as load_artifact,
    save_artifact as save_artifact,
    write_calibration as write_calibration,
)
from .calibration import (
    DEFAULT as DEFAULT,
    Calibration as Calibration,
    Scores as Scores,
    known as known,
)
from .classifier import Classifier as Classifier
from .legacy import (
    check_legacy as check_legacy,
    check_out as check_out,
    import_legacy as import_legacy,
)
from .places import BackboneNeededError as BackboneNeededError
