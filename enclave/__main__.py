"""``python -m enclave``: the production enclave. It starts only where there is an NSM device."""

import sys

from .main import main

if __name__ == "__main__":
    sys.exit(main())
