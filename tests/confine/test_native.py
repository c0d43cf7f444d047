"""The native extension that only images have, without a Nitro device to talk to."""

import os

import pytest


@pytest.mark.parametrize("path", [os.devnull, "/dev/urandom", "/etc/passwd"])
def test_what_is_not_the_device_is_not_adopted(native, path):
    with open(path) as file, pytest.raises(native.NsmError) as caught:
        native.adopt(os.dup(file.fileno()))
    assert caught.value.code == "DeviceUnavailable"


def test_a_closed_descriptor_is_not_adopted(native):
    with pytest.raises(native.NsmError):
        native.adopt(999)


def test_the_module_offers_no_way_to_open_the_device_by_itself(native):
    assert {name for name in dir(native) if not name.startswith("_")} == {
        "NsmDevice",
        "NsmError",
        "adopt",
        "confine",
    }
