from .header import (
    Header as Header,
)
from .header import (
    read_header as read_header,
)
from .load import (
    BUNDLED as BUNDLED,
)
from .load import (
    PHOTO as PHOTO,
)
from .load import (
    as_path as as_path,
)
from .load import (
    find_local as find_local,
)
from .load import (
    known_names as known_names,
)
from .load import (
    load_clip as load_clip,
)
from .load import (
    portable_name as portable_name,
)
from .pickles import (
    read_pickle as read_pickle,
)
from .tokenizer import (
    EOT as EOT,
)
from .tokenizer import (
    SOT as SOT,
)
from .tokenizer import (
    WORDS as WORDS,
)
from .tokenizer import (
    Tokenizer as Tokenizer,
)
