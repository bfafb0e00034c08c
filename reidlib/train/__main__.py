"""python -m reidlib.train --dataset market"""

import sys

from reidlib.runs.command import main, stoppable

sys.exit(stoppable(main))
