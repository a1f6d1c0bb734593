from .augment import (
    get_augment as get_augment,
)
from .catalog import (
    CATALOG as CATALOG,
)
from .catalog import (
    SCENE_STYLES as SCENE_STYLES,
)
from .catalog import (
    names as names,
)
from .decode import (
    SUFFIXES as SUFFIXES,
)
from .decode import (
    load_image as load_image,
)
from .fewshot import (
    base_new as base_new,
)
from .fewshot import (
    few_shot as few_shot,
)
from .images import (
    ImageBatch as ImageBatch,
)
from .images import (
    Needs as Needs,
)
from .images import (
    View as View,
)
from .images import (
    iterate as iterate,
)
from .locate import (
    VARIABLE as VARIABLE,
)
from .locate import (
    data_folders as data_folders,
)
from .locate import (
    homes as homes,
)
from .manifest import (
    Item as Item,
)
from .manifest import (
    Manifest as Manifest,
)
from .manifest import (
    Split as Split,
)
from .manifest import (
    prompt_name as prompt_name,
)
from .problems import (
    verify as verify,
)
from .scenes import (
    CLASSES as CLASSES,
)
from .scenes import (
    COLOURS as COLOURS,
)
from .scenes import (
    FILLS as FILLS,
)
from .scenes import (
    SHAPES as SHAPES,
)
from .scenes import (
    SIZES as SIZES,
)
from .scenes import (
    STYLES as STYLES,
)
from .scenes import (
    Look as Look,
)
from .scenes import (
    Scene as Scene,
)
from .scenes import (
    caption as caption,
)
from .scenes import (
    compose as compose,
)
from .scenes import (
    held_out as held_out,
)
from .scenes import (
    materialise as materialise,
)
from .scenes import (
    random_look as random_look,
)
from .scenes import (
    scene as scene,
)
from .scenes import (
    single as single,
)
from .scenes.captions import (
    noun_phrase as noun_phrase,
)
from .scenes.captions import (
    with_article as with_article,
)
from .scenes.dataset import (
    parse_look as parse_look,
)
from .sentences import (
    find_sentences as find_sentences,
)
from .sources import (
    open_dataset as open_dataset,
)
from .transforms import (
    Preprocess as Preprocess,
)
