"""Pictures that lie inside archives: shards of WebDataset, tables of Hugging Face.

They are written out once, in the cache folder, and are an ordinary data set from then on. Nothing
that an archive holds is ever executed. Loads no torch until an archive is opened.
"""

from diffuprompt.data.archives.opening import (
    absolute_hub_spec,
    is_archive,
    is_hub_spec,
    open_archive,
)

__all__ = ["absolute_hub_spec", "is_archive", "is_hub_spec", "open_archive"]
