from .contract import Span as Span
from .detectors.captions import CaptionTokenizer as CaptionTokenizer
from .detectors.folder import save_detector as save_detector
from .detectors.glip import PHOTO as PHOTO, TINY as TINY, Glip as Glip, GlipConfig as GlipConfig
from .detectors.inference import detections as detections
from .detectors.losses import glip_losses as glip_losses
from .detectors.trunk import load_trunk as load_trunk
from .metrics import first_hit as first_hit, recalls as recalls
from .worlds.collages import CollageWorld as CollageWorld
from .worlds.cutouts import cutout_names as cutout_names, read_cutouts as read_cutouts
from .worlds.labels import (
    label_caption as label_caption,
    label_targets as label_targets,
    vocabulary as vocabulary,
)
from .worlds.making import WorldName as WorldName, make_expressions as make_expressions
from .worlds.picture import World as World
from .worlds.scenes import SceneWorld as SceneWorld
