"""Pictures of prompts: their nearest words, where a logit comes from, and what they make one draw.

What other rooms may use stands in ``__init__.pyi`` and is loaded when it is first used.
"""

import lazy_loader as _lazy

__getattr__, __dir__, __all__ = _lazy.attach_stub(__name__, __file__)
