from .archives import absolute_hub_spec as absolute_hub_spec, is_hub_spec as is_hub_spec
from .augment import get_augment as get_augment
from .catalog import (
    CATALOG as CATALOG,
    SCENE_STYLES as SCENE_STYLES,
    catalog_name as catalog_name,
    image_places as image_places,
    is_test_only as is_test_only,
    names as names,
)
from .checksums import (
    compare as compare,
    read_checksums as read_checksums,
    write_checksums as write_checksums,
)
from .class_names import (
    name_problems as name_problems,
    prompt_name as prompt_name,
    read_names as read_names,
    short as short,
)
from .decode import image_size as image_size, load_image as load_image, to_pixels as to_pixels
from .domains import (
    domain_folder as domain_folder,
    domain_names as domain_names,
    open_domains as open_domains,
)
from .fewshot import base_new as base_new, few_shot as few_shot
from .halves import HALVES as HALVES
from .identifiers import doubtful_names as doubtful_names
from .images import ImageBatch as ImageBatch, Needs as Needs, View as View, iterate as iterate
from .inspection import (
    USABLE as USABLE,
    Inspection as Inspection,
    inspect_dataset as inspect_dataset,
)
from .kinds import find_pictures as find_pictures, left_out as left_out
from .levels import reading_of as reading_of
from .locate import (
    VARIABLE as VARIABLE,
    data_folders as data_folders,
    first_existing as first_existing,
    homes as homes,
)
from .manifest import Item as Item, Manifest as Manifest, Problem as Problem, Split as Split
from .paths import leads_outside as leads_outside
from .problems import verify as verify
from .registry import (
    Registered as Registered,
    forget as forget,
    name_problem as name_problem,
    register as register,
    registered as registered,
    registry_file as registry_file,
)
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
from .shift import SHIFTS as SHIFTS, check_kind as check_kind, write_shifted as write_shifted
from .sources import absolute_spec as absolute_spec, open_dataset as open_dataset
from .splitfile import write_split_file as write_split_file
from .transforms import Preprocess as Preprocess
