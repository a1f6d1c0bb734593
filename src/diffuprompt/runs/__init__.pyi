from .cache import Cache as Cache, cache_root as cache_root, checksum as checksum
from .contents import Contents as Contents
from .sealed import read_sealed as read_sealed, write_sealed as write_sealed
from .stage import Stage as Stage, digest as digest
from .store import StageFolder as StageFolder, Store as Store, Values as Values, locked as locked
