from .artifact import (
    Artifact as Artifact,
)
from .artifact import (
    load_artifact as load_artifact,
)
from .artifact import (
    save_artifact as save_artifact,
)
from .classifier import (
    Classifier as Classifier,
)
from .legacy import (
    import_legacy as import_legacy,
)
from .legacy import (
    read_legacy as read_legacy,
)
