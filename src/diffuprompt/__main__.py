"""``python -m diffuprompt``: the command line, where its script is not on the path."""

import sys

from diffuprompt.cli.main import main

sys.exit(main())
