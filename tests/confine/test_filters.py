"""What the enclave's process can do under its filters, tried by a process under its filters. Numbers of system calls are of x86_64."""

import signal
import subprocess
import sys

import pytest

LOAD = """
import importlib.machinery, importlib.util, sys
loader = importlib.machinery.ExtensionFileLoader("enclave._nsm", sys.argv[1])
spec = importlib.util.spec_from_file_location("enclave._nsm", sys.argv[1], loader=loader)
native = importlib.util.module_from_spec(spec)
loader.exec_module(native)
native.confine()
"""

FATAL = {
    "fork": "import os; os.fork()",
    "vfork": "import _posixsubprocess, subprocess; subprocess.run(['/bin/true'])",
    "ptrace": "import ctypes; ctypes.CDLL(None).ptrace(0, 0, 0, 0)",
    "mount": "import ctypes; ctypes.CDLL(None).mount(b'none', b'/mnt', b'tmpfs', 0, None)",
    "unshare": "import ctypes; ctypes.CDLL(None).unshare(0x10000000)",
    "keyctl": "import ctypes; ctypes.CDLL(None).syscall(250, 0)",
    "bpf": "import ctypes; ctypes.CDLL(None).syscall(321, 0, 0, 0)",
    "io_uring_setup": "import ctypes; ctypes.CDLL(None).syscall(425, 1, 0)",
    "process_vm_readv": "import ctypes; ctypes.CDLL(None).syscall(310, 1, 0, 0, 0, 0, 0)",
    "the x32 table": "import ctypes; ctypes.CDLL(None).syscall(0x40000000 | 39)",
    "setuid": "import os; os.setuid(0)",
    "chmod": "import os; os.chmod('/tmp', 0o777)",
    "unlink": "import os; os.unlink('/tmp/nothing')",
    "mkdir": "import os; os.mkdir('/tmp/nothing')",
    "kill": "import os; os.kill(1, 0)",
    "memory to write and execute": "import mmap; mmap.mmap(-1, 4096, prot=7)",
    "written memory made executable": (
        "import ctypes, mmap; memory = mmap.mmap(-1, 4096); address = ctypes.addressof(ctypes.c_char.from_buffer(memory));"
        "ctypes.CDLL(None).mprotect(ctypes.c_void_p(address), 4096, 5)"
    ),
    "another device's ioctl": "import fcntl; fcntl.ioctl(0, 0x5412, b'x')",
    "a dumpable process": "import ctypes; ctypes.CDLL(None).prctl(4, 1, 0, 0, 0)",
    "a raised limit": "import resource; resource.setrlimit(resource.RLIMIT_CORE, (0, 0))",
    "a socket pair of packets": "import socket; socket.socketpair(socket.AF_INET, socket.SOCK_DGRAM)",
    "a pipe in the file system": "import os; os.mkfifo('/tmp/nothing')",
}

REFUSED = {
    "IPv4": ("import socket; socket.socket(socket.AF_INET)", "EAFNOSUPPORT"),
    "IPv6": ("import socket; socket.socket(socket.AF_INET6)", "EAFNOSUPPORT"),
    "packets": ("import socket; socket.socket(socket.AF_PACKET, socket.SOCK_RAW)", "EAFNOSUPPORT"),
    "netlink": ("import socket; socket.socket(socket.AF_NETLINK, socket.SOCK_RAW)", "EAFNOSUPPORT"),
    "writing": ("import os; os.open('/dev/null', os.O_WRONLY)", "EROFS"),
    "reading and writing": ("import os; os.open('/dev/null', os.O_RDWR)", "EROFS"),
    "creating": ("import os; os.open('/tmp/nothing', os.O_RDONLY | os.O_CREAT)", "EROFS"),
    "truncating": ("import os; os.open('/tmp/nothing', os.O_RDONLY | os.O_TRUNC)", "EROFS"),
    "a nameless file": ("import os; os.open('/tmp', os.O_RDWR | os.O_TMPFILE)", "EROFS"),
}

ALLOWED = {
    "threads": "import threading; t = threading.Thread(target=print); t.start(); t.join()",
    "asyncio": "import asyncio; asyncio.run(asyncio.sleep(0))",
    "unix sockets": "import socket; a, b = socket.socketpair(); a.send(b'x'); assert b.recv(1) == b'x'",
    "vsock": "import socket\ntry: socket.socket(socket.AF_VSOCK)\nexcept OSError as e: assert e.errno in (97, 19), e",
    "reading": "import pathlib; pathlib.Path('/etc/passwd').read_bytes()",
    "random numbers": "import os; os.urandom(32)",
    "TLS": "import ssl; ssl.create_default_context()",
    "ending by abort": "import signal, os; signal.raise_signal(0)",
}


def python(confined: str, code: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [confined, sys.executable, "-c", code, *arguments], capture_output=True, text=True, check=False
    )


@pytest.mark.parametrize("name", FATAL)
def test_it_ends_the_process(confined, name):
    ended = python(confined, FATAL[name])
    assert ended.returncode == -signal.SIGSYS, ended


@pytest.mark.parametrize("name", REFUSED)
def test_it_is_refused(confined, name):
    code, errno = REFUSED[name]
    wrapped = (
        f"import errno\ntry:\n    {code}\nexcept OSError as error:\n    print(errno.errorcode[error.errno])"
    )
    ended = python(confined, wrapped)
    assert (ended.returncode, ended.stdout.strip()) == (0, errno), ended


@pytest.mark.parametrize("name", ALLOWED)
def test_it_is_allowed(confined, name):
    ended = python(confined, ALLOWED[name])
    assert ended.returncode == 0, ended


def test_the_filters_outlive_the_program_that_had_them(confined):
    """The one program start that the filters allow keeps them."""
    ended = python(
        confined, "import os; os.execv('/bin/sh', ['sh', '-c', 'echo started; : > /dev/null; (true)'])"
    )
    assert "started" in ended.stdout
    assert "Read-only file system" in ended.stderr or "cannot create" in ended.stderr
    assert ended.returncode != 0


def test_after_completion_no_program_starts(confined, extension):
    code = LOAD + "import os; print('confined', flush=True); os.execv('/bin/true', ['true'])"
    ended = python(confined, code, str(extension))
    assert (ended.returncode, ended.stdout) == (-signal.SIGSYS, "confined\n"), ended


def test_after_completion_no_thread_starts_a_program(confined, extension):
    """Also not one that was there before."""
    code = f"""
import os, threading
go = threading.Event()
def start():
    go.wait()
    os.execv('/bin/true', ['true'])
thread = threading.Thread(target=start)
thread.start()
{LOAD}
print('confined', flush=True)
go.set()
thread.join()
"""
    ended = python(confined, code, str(extension))
    assert (ended.returncode, ended.stdout) == (-signal.SIGSYS, "confined\n"), ended


def test_execveat_is_no_way_around(confined, extension):
    code = LOAD + "import ctypes; ctypes.CDLL(None).syscall(322, -100, b'/bin/true', 0, 0, 0)"
    assert python(confined, code, str(extension)).returncode == -signal.SIGSYS


def test_completion_makes_the_process_undumpable(extension):
    code = f"import ctypes\ndumpable = lambda: ctypes.CDLL(None).prctl(3, 0, 0, 0, 0)\nbefore = dumpable()\n{LOAD}print(before, dumpable())"
    ended = subprocess.run(
        [sys.executable, "-c", code, str(extension)], capture_output=True, text=True, check=False
    )
    assert ended.stdout == "1 0\n", ended


def test_the_kernel_knows_of_the_filters(confined):
    ended = python(confined, "import pathlib; print(pathlib.Path('/proc/self/status').read_text())")
    fields = dict(line.split(":\t", 1) for line in ended.stdout.splitlines() if ":\t" in line)
    assert (fields["NoNewPrivs"], fields["Seccomp"]) == ("1", "2")
