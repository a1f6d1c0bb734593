from .automatic import (
    AUTO as AUTO,
    choose_backbone as choose_backbone,
    find_backbone as find_backbone,
    knows_only_scenes as knows_only_scenes,
    places as places,
)
from .header import Header as Header, read_header as read_header
from .hub import fetch as fetch
from .load import (
    ASSETS as ASSETS,
    BUNDLED as BUNDLED,
    PHOTO as PHOTO,
    as_path as as_path,
    find_local as find_local,
    hash_weights as hash_weights,
    is_at_hand as is_at_hand,
    is_name as is_name,
    known_names as known_names,
    load_clip as load_clip,
    portable_name as portable_name,
)
from .pickles import read_pickle as read_pickle
from .plain import read_plain_pickle as read_plain_pickle
from .state_dict import read_torch as read_torch
from .tokenizer import EOT as EOT, SOT as SOT, WORDS as WORDS, Tokenizer as Tokenizer
from .weights import Origin as Origin, fill as fill, unfilled as unfilled
