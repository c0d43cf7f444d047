"""The enclave, with a thread beside it that writes the memory in use to the console. For `bench.eif`."""

import sys
import threading
import time
from pathlib import Path

from enclave.main import main


def kilobytes(file, name):
    lines = Path(file).read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(f"{name}:"))


def meter():
    while True:
        used = kilobytes("/proc/meminfo", "MemTotal") - kilobytes("/proc/meminfo", "MemAvailable")
        print(f"MEMORY {used} {kilobytes('/proc/self/status', 'VmRSS')}", file=sys.stderr, flush=True)
        time.sleep(1)


threading.Thread(target=meter, daemon=True).start()
sys.exit(main())
