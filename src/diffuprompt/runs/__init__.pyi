from .cache import (
    Cache as Cache,
)
from .cache import (
    cache_root as cache_root,
)
from .cache import (
    checksum as checksum,
)
from .contents import (
    Contents as Contents,
)
from .stage import (
    Stage as Stage,
)
from .stage import (
    digest as digest,
)
from .store import (
    StageFolder as StageFolder,
)
from .store import (
    Store as Store,
)
from .store import (
    Values as Values,
)
from .store import (
    locked as locked,
)
