"""README.md says what the code does."""

import re
from pathlib import Path

from attestation import AWS_NITRO_ROOT_G1
from attestation.errors import CODES, STEPS

README = (Path(__file__).parents[2] / "attestation" / "README.md").read_text()


def test_the_table_of_codes_is_the_codes() -> None:
    rows = re.findall(r"^\| `(\w+)` \| (\d+) \| (.+) \|$", README, re.MULTILINE)
    assert {code: (int(step), meaning) for code, step, meaning in rows} == CODES


def test_the_check_list_has_every_step() -> None:
    for number, title in STEPS.items():
        assert re.search(rf"\b{number}\. \*\*{title}\b", README, re.IGNORECASE), title


def test_the_root_of_aws_is_named() -> None:
    assert AWS_NITRO_ROOT_G1 in README
