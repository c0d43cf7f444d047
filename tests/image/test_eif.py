"""The enclave image file: every part in its place, measured by two readers that share nothing with the writer."""

import io
import json
import stat

import pytest

from attestation.eif import measure
from attestation.measurements import load
from image.__main__ import main
from image.eif import Image
from image.errors import ImageError
from image.layout import Boot, application_ramdisk, boot_ramdisk
from image.ramdisk import File
from tests.image.trees import bzimage, directory, pcr, sections, tar, unpack

INIT = b"\x7fELF our init"
CMDLINE = "reboot=k panic=30 console=ttyS0"


@pytest.fixture
def parts(tmp_path):
    (tmp_path / "bzImage").write_bytes(bzimage())
    (tmp_path / "cmdline").write_text(CMDLINE + "\n")
    (tmp_path / "init").write_bytes(INIT)
    tar(tmp_path / "rootfs.tar")
    return tmp_path


def build(parts, *more: str, source: str = "rootfs.tar", output: str = "out") -> bytes:
    arguments = ["eif", "--rootfs", str(parts / source), "--kernel", str(parts / "bzImage"), *more]
    arguments += ["--cmdline", str(parts / "cmdline"), "--init", str(parts / "init")]
    assert main([*arguments, "--output", str(parts / output)]) == 0
    return (parts / output / "cosigner.eif").read_bytes()


def test_two_readers_and_the_file_beside_it_agree_on_the_measurements(parts):
    eif = build(parts)
    kinds = [kind for kind, _ in sections(eif)]
    assert kinds == [1, 2, 5, 3, 3]  # kernel, command line, metadata, ramdisks: the order of AWS's builder
    kernel, cmdline, _, boot, application = (content for _, content in sections(eif))
    assert (kernel, cmdline) == (bzimage(), CMDLINE.encode())
    expected = {
        "0": pcr(kernel, cmdline, boot, application),
        "1": pcr(kernel, cmdline, boot),
        "2": pcr(application),
    }
    text = (parts / "out/measurements.json").read_bytes()
    assert json.loads(text) == {"version": 1, "pcrs": expected}
    assert {str(index): value.hex() for index, value in measure(io.BytesIO(eif)).pcrs.items()} == expected
    assert load(text) == measure(io.BytesIO(eif)).pcrs


def test_each_ramdisk_holds_its_own(parts):
    *_, boot, application = (content for _, content in sections(build(parts)))
    started = unpack(boot)
    assert {name: record.mode for name, record in started.items()} == {
        "dev": stat.S_IFDIR | 0o755,
        "dev/console": stat.S_IFCHR | 0o600,
        "dev/null": stat.S_IFCHR | 0o600,
        "init": stat.S_IFREG | 0o755,
    }
    assert (started["dev/console"].device, started["dev/null"].device) == ((5, 1), (1, 3))
    assert started["init"].content == INIT
    tree = unpack(application)
    assert {name.partition("/")[0] for name in tree} == {"rootfs"}
    assert {"rootfs/dev", "rootfs/proc", "rootfs/run", "rootfs/sys", "rootfs/tmp"} <= tree.keys()
    assert tree["rootfs/opt/cosigner/enclave/__main__.py"].content == b"print('enclave')\n"


def test_an_image_for_awss_kernel_starts_with_awss_init(parts):
    (parts / "nsm.ko").write_bytes(b"\x7fELF driver")
    (parts / "aws").write_bytes(b"\x7fELF AWS's init")
    eif = build(parts, "--module", str(parts / "nsm.ko"), "--aws-init", str(parts / "aws"))
    *_, boot, application = (content for _, content in sections(eif))
    started, tree = unpack(boot), unpack(application)
    assert started["init"].content == b"\x7fELF AWS's init"
    assert started["nsm.ko"].content == b"\x7fELF driver"
    # It runs the words of /cmd, found through /env, below /rootfs.
    (command,) = tree["cmd"].content.decode().splitlines()
    assert tree["env"].content.decode().startswith("PATH=")
    assert tree["rootfs" + command].content == INIT
    assert tree["rootfs" + command].mode == stat.S_IFREG | 0o755


def test_clock_place_order_and_umask_leave_no_trace(parts, monkeypatch):
    directory(parts / "one")
    directory(parts / "two", backwards=True, time=5, umask=0o002)
    first = build(parts, source="one", output="here")
    monkeypatch.setattr("time.time", lambda: 4_000_000_000.0)
    monkeypatch.chdir(parts)
    assert build(parts, source="two", output="deep/inside/there") == first


def test_the_metadata_names_no_time_and_is_what_nitro_cli_shows(parts):
    metadata = json.loads(sections(build(parts))[2][1])
    assert metadata.keys() == {"ImageName", "ImageVersion", "BuildMetadata", "DockerInfo", "CustomMetadata"}
    assert metadata["BuildMetadata"].keys() == {
        "BuildTime",
        "BuildTool",
        "BuildToolVersion",
        "OperatingSystem",
        "KernelVersion",
    }
    assert metadata["BuildMetadata"]["BuildTime"] == "1970-01-01T00:00:00Z"
    assert metadata["BuildMetadata"]["KernelVersion"] == "6.12.1-test"


@pytest.mark.parametrize("part", ["kernel", "cmdline", "boot", "application"])
def test_every_part_is_measured_where_it_should_be(part):
    values = {"kernel": bzimage(), "cmdline": "a=b", "boot": b"boot", "application": b"application"}

    def pcrs(changed: dict[str, object]) -> dict[int, bytes]:
        found = values | changed
        image = Image(
            kernel=found["kernel"],
            cmdline=found["cmdline"],
            ramdisks=[found["boot"], found["application"]],
            version="1",
        )
        assert measure(io.BytesIO(image.encode())).pcrs == image.pcrs()
        return image.pcrs()

    before = pcrs({})
    value = values[part]
    after = pcrs({part: value + ("c" if isinstance(value, str) else b"c")})
    changed = {index for index in before if before[index] != after[index]}
    assert changed == ({0, 2} if part == "application" else {0, 1})


@pytest.mark.parametrize("cmdline", ["", " a", "a ", "a  b", "a\nb", "a\0", "ü", "a" * 2048])
def test_command_lines_are_plain(cmdline):
    with pytest.raises(ImageError, match="command line"):
        Image(kernel=bzimage(), cmdline=cmdline, ramdisks=[b"1", b"2"], version="1").encode()


def test_parts_are_not_empty_and_the_kernel_is_one():
    for kernel, ramdisks in (
        (b"", [b"1"]),
        (bzimage(), []),
        (bzimage(), [b"1", b""]),
        (b"\x7fELF" * 200, [b"1"]),
    ):
        with pytest.raises(ImageError):
            Image(kernel=kernel, cmdline="a", ramdisks=ramdisks, version="1").encode()


def test_an_image_without_an_enclave_is_refused():
    with pytest.raises(ImageError, match="not the enclave's production image"):
        application_ramdisk(Boot(init=INIT), {"usr/bin/python3": File(b"")})


def test_a_file_in_the_way_of_our_init_is_refused():
    tree = {"opt/cosigner/enclave/__main__.py": File(b""), "cosigner-init": File(b"another")}
    assert application_ramdisk(Boot(init=INIT), tree)
    with pytest.raises(ImageError, match="already"):
        application_ramdisk(Boot(init=INIT, aws_init=b"aws"), tree)


def test_the_driver_is_there_only_if_given():
    assert "nsm.ko" not in unpack(boot_ramdisk(Boot(init=INIT)))


def test_refusals_are_one_line_and_leave_nothing(parts, capsys):
    arguments = [
        "eif",
        "--rootfs",
        str(parts / "gone"),
        "--kernel",
        str(parts / "bzImage"),
        "--init",
        str(parts / "init"),
    ]
    assert main([*arguments, "--output", str(parts / "none")]) == 1
    assert capsys.readouterr().err.startswith("error: cannot read")
    assert not (parts / "none").exists()


def test_the_committed_command_line_is_plain():
    from image.__main__ import HERE

    text = (HERE / "cmdline").read_text()
    assert Image(
        kernel=bzimage(), cmdline=text.removesuffix("\n"), ramdisks=[b"1", b"2"], version="1"
    ).encode()
    # The parent's CID is a boot parameter, and the default is Nitro's: a shipped image must not say otherwise.
    assert "cosigner." not in text
