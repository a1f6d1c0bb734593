"""Pictures that lie inside archives: shards of WebDataset, tables of Hugging Face.

They are written out once, in the cache folder, and are an ordinary data set from then on. Loads no
torch, and never executes anything that an archive holds.
"""

from diffuprompt.data.archives.opening import is_archive, is_hub_spec, open_archive

__all__ = ["is_archive", "is_hub_spec", "open_archive"]
