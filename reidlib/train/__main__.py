"""python -m reidlib.train --dataset market"""

from reidlib.runs.command import main

main()
