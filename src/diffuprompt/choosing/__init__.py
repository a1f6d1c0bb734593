"""Which method suits somebody's pictures: trials on folds of the training images, under a budget.

What other rooms may use stands in ``__init__.pyi`` and is loaded when it is first used.
"""

import lazy_loader as _lazy

__getattr__, __dir__, __all__ = _lazy.attach_stub(__name__, __file__)
