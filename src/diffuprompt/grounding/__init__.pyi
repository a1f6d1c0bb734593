from .artifact import (
    halve_grounder as halve_grounder,
    load_grounder as load_grounder,
    save_grounder as save_grounder,
)
from .bundled import BUNDLED_GROUNDER as BUNDLED_GROUNDER, bundled_grounder as bundled_grounder
from .conditioning import condition_of as condition_of
from .contract import (
    Adaptation as Adaptation,
    Detections as Detections,
    Detector as Detector,
    Method as Method,
    VisualPrompt as VisualPrompt,
)
from .detectors.bert import BertConfig as BertConfig, SelfAttention as SelfAttention
from .detectors.boxes import iou as iou, nms as nms
from .detectors.captions import CaptionTokenizer as CaptionTokenizer
from .detectors.folder import save_detector as save_detector
from .detectors.glip import PHOTO as PHOTO, TINY as TINY, Glip as Glip, GlipConfig as GlipConfig
from .detectors.glip_detector import GlipDetector as GlipDetector
from .detectors.inference import detections as detections
from .detectors.load import open_detector as open_detector
from .detectors.losses import glip_losses as glip_losses
from .detectors.swin import WindowAttention as WindowAttention
from .detectors.trunk import load_trunk as load_trunk
from .drawing import (
    FIRST as FIRST,
    OTHER as OTHER,
    TRUE as TRUE,
    Mark as Mark,
    Strip as Strip,
    draw_strips as draw_strips,
    marks_of as marks_of,
    picture_of as picture_of,
    png_bytes as png_bytes,
)
from .expressions import Batch as Batch, Expressions as Expressions, Span as Span
from .grounder import Grounded as Grounded, Grounder as Grounder
from .maps import (
    MapMaker as MapMaker,
    MapsConfig as MapsConfig,
    decoded as decoded,
    stored as stored,
)
from .masks.condition import (
    Condition as Condition,
    TokensCondition as TokensCondition,
    joined as joined,
)
from .masks.encoder import EncoderConfig as EncoderConfig, MaskEncoder as MaskEncoder
from .masks.fits import GeneratorFit as GeneratorFit, VaeFit as VaeFit
from .masks.generator import MaskGenerator as MaskGenerator, Told as Told, told_by as told_by
from .masks.independent import IndependentMasks as IndependentMasks
from .masks.mask_vae import MaskVae as MaskVae, VaeConfig as VaeConfig
from .masks.settings import GeneratorConfig as GeneratorConfig
from .masks.training import (
    Averaged as Averaged,
    GeneratorTask as GeneratorTask,
    NetworkTask as NetworkTask,
    VaeTask as VaeTask,
    mean_latents as mean_latents,
)
from .methods.batches import no_maps as no_maps
from .methods.evaluate import detected as detected
from .methods.map_box import boxes_of_map as boxes_of_map
from .methods.registry import make_method as make_method, method_settings as method_settings
from .methods.training import (
    MethodFit as MethodFit,
    MethodTask as MethodTask,
    default_fit as default_fit,
    fit_method as fit_method,
    paper_fit as paper_fit,
)
from .metrics import first_hit as first_hit, mask_iou as mask_iou
from .worlds.collages import CollageWorld as CollageWorld
from .worlds.cutouts import (
    cutout_names as cutout_names,
    cutouts_hash as cutouts_hash,
    read_cutouts as read_cutouts,
)
from .worlds.labels import (
    label_caption as label_caption,
    label_targets as label_targets,
    vocabulary as vocabulary,
)
from .worlds.made import MadeExpressions as MadeExpressions
from .worlds.making import (
    COUNTS as COUNTS,
    DOMAINS as DOMAINS,
    WorldName as WorldName,
    make_expressions as make_expressions,
)
from .worlds.opening import open_expressions as open_expressions
from .worlds.part import Part as Part
from .worlds.picture import World as World
from .worlds.scenes import SceneWorld as SceneWorld
