"""`python -m attestation`."""

import signal
import sys

from attestation.cli import main

if __name__ == "__main__":
    # A reader that stops early (`| head`) ends the command quietly.
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    sys.exit(main())
