"""Runs in the enclave's place and looks around: what PID 1 left open, and to whom. One line of JSON on the console."""

import importlib
import json
import os
import socket
import stat
import sys
from pathlib import Path

from enclave.nsm import adopt_device


def attempt(action):
    """The name of the error, or "done"."""
    try:
        action()
    except OSError as error:
        return error.strerror
    return "done"


def status(*names):
    lines = Path("/proc/self/status").read_text().splitlines()
    found = dict(line.split(":\t", 1) for line in lines if ":\t" in line)
    return {name: found[name].split() for name in names}


def mounts():
    lines = (line.split() for line in Path("/proc/self/mountinfo").read_text().splitlines())
    return [[words[4], words[5].split(",")] for words in lines]


def files_with_rights():
    """Whatever is setuid or setgid, or can be written by this user: by its mode, and where it is mounted writable."""
    found = []
    for directory, names, others in os.walk("/"):
        names[:] = [name for name in names if (directory, name) not in {("/", "proc"), ("/", "sys")}]
        for name in others:
            mode = os.lstat(os.path.join(directory, name)).st_mode
            if mode & (stat.S_ISUID | stat.S_ISGID) or (stat.S_ISREG(mode) and mode & stat.S_IWOTH):
                found.append(os.path.join(directory, name))
    return found


def descriptors():
    """Where they lead, without the one that the listing itself needs."""
    links = [f"/proc/self/fd/{name}" for name in os.listdir("/proc/self/fd")]
    return sorted(os.readlink(link) for link in links if os.path.lexists(link))


descriptor = int(sys.argv[sys.argv.index("--nsm-fd") + 1])
device = os.stat("/dev/nsm")
nsm = adopt_device(descriptor)
report = {
    "arguments": sys.argv[1:],
    "environment": sorted(os.environ),
    "status": status(
        "Uid", "Gid", "Groups", "CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb", "NoNewPrivs", "Seccomp"
    ),
    "nsm mode": stat.S_IMODE(device.st_mode),
    "nsm owner": [device.st_uid, device.st_gid],
    "nsm, to read": attempt(lambda: os.open("/dev/nsm", os.O_RDONLY)),
    "nsm, inherited": nsm.describe()["digest"],
    "descriptors": descriptors(),
    "processes": sorted(
        name
        for name in os.listdir("/proc")
        if name.isdecimal() and Path(f"/proc/{name}/cmdline").read_bytes()
    ),
    "descriptors of PID 1": attempt(lambda: os.listdir("/proc/1/fd")),
    "mounts": mounts(),
    "files with rights": files_with_rights(),
    "a new file": attempt(lambda: os.open("/file", os.O_WRONLY | os.O_CREAT)),
    "a new file in tmp": attempt(lambda: os.open("/tmp/file", os.O_WRONLY | os.O_CREAT)),
    "its own program": attempt(lambda: os.open(__file__, os.O_RDWR)),
    "internet socket": attempt(lambda: socket.socket(socket.AF_INET)),
    "entropy": Path("/sys/devices/virtual/misc/hw_random/rng_current").read_text().strip(),
    "modules": attempt(lambda: os.stat("/proc/modules")),
    "document": nsm.attest(b"variant", b"nonce", None).hex(),
}
importlib.import_module("enclave._nsm").confine()
report["status"]["Seccomp_filters"] = status("Seccomp_filters")["Seccomp_filters"]
report["memory"] = dict(line.split(":") for line in Path("/proc/meminfo").read_text().splitlines()[:3])
print("REPORT " + json.dumps(report), file=sys.stderr, flush=True)
sys.exit(7)
