"""``python -m bids_neurossm``."""

import sys

from bids_neurossm.cli.run import main

if __name__ == "__main__":
    sys.exit(main())
