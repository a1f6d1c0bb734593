from .augment import get_augment as get_augment
from .catalog import CATALOG as CATALOG, SCENE_STYLES as SCENE_STYLES, names as names
from .class_names import (
    name_problems as name_problems,
    prompt_name as prompt_name,
    read_names as read_names,
    short as short,
)
from .decode import image_size as image_size, load_image as load_image, to_pixels as to_pixels
from .fewshot import base_new as base_new, few_shot as few_shot
from .halves import HALVES as HALVES
from .identifiers import doubtful_names as doubtful_names
from .images import ImageBatch as ImageBatch, Needs as Needs, View as View, iterate as iterate
from .kinds import find_pictures as find_pictures, left_out as left_out
from .levels import reading_of as reading_of
from .locate import (
    VARIABLE as VARIABLE,
    data_folders as data_folders,
    first_existing as first_existing,
    homes as homes,
)
from .manifest import Item as Item, Manifest as Manifest, Problem as Problem, Split as Split
from .problems import verify as verify
from .scenes import (
    CLASSES as CLASSES,
    COLOURS as COLOURS,
    EXTREMES as EXTREMES,
    FILLS as FILLS,
    SHAPES as SHAPES,
    SIZES as SIZES,
    STYLES as STYLES,
    Look as Look,
    Reference as Reference,
    Scene as Scene,
    SceneObject as SceneObject,
    Style as Style,
    caption as caption,
    compose as compose,
    held_out as held_out,
    materialise as materialise,
    random_look as random_look,
    references as references,
    scene as scene,
    single as single,
)
from .scenes.captions import noun_phrase as noun_phrase, with_article as with_article
from .scenes.dataset import parse_look as parse_look
from .sentences import find_sentences as find_sentences
from .shift import (
    SEVERITIES as SEVERITIES,
    SHIFTS as SHIFTS,
    check_kind as check_kind,
    shifted_png as shifted_png,
    write_shifted as write_shifted,
)
from .sources import open_dataset as open_dataset
from .transforms import Preprocess as Preprocess
