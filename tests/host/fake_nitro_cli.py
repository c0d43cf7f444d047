#!/usr/bin/env python3
"""Behaves as AWS's ``nitro-cli`` does towards ``host.nitro``: its commands, its JSON on stdout, its words on stderr.

The shapes are those of the Nitro CLI's reference in the Nitro Enclaves User Guide (run-enclave, describe-enclaves, terminate-enclave). The
enclaves "run" in a JSON file, FAKE_NITRO_STATE; a test lets one end, or bends an answer, by editing that file.
"""

import json
import os
import sys
from pathlib import Path

STATE = Path(os.environ["FAKE_NITRO_STATE"])


def load() -> dict:
    fresh = {"enclaves": [], "next_cid": 16, "calls": [], "fail": {}, "say": {}, "flags": "NONE", "silent": 0}
    return json.loads(STATE.read_text()) if STATE.exists() else fresh


def save(state: dict) -> None:
    temporary = STATE.with_suffix(f".{os.getpid()}")
    temporary.write_text(json.dumps(state))
    temporary.replace(STATE)


def run(state: dict, options: dict) -> dict:
    print("Start allocating memory...", file=sys.stderr)
    cid = state["next_cid"]
    state["next_cid"] += 1
    enclave = {
        "EnclaveName": options["--enclave-name"],
        "EnclaveID": f"i-abc12345def67890a-enc9876abcd543210{cid:02d}",
        "ProcessID": 12345,
        "EnclaveCID": cid,
        "NumberOfCPUs": int(options["--cpu-count"]),
        "CPUIDs": [1, 3],
        "MemoryMiB": int(options["--memory"]),
    }
    state["enclaves"].append({**enclave, "State": "RUNNING", "Flags": state["flags"]})
    print(f"Started enclave with enclave-cid: {cid}, memory: {options['--memory']} MiB", file=sys.stderr)
    return enclave


def terminate(state: dict, options: dict) -> dict:
    wanted = options["--enclave-id"]
    (enclave,) = [one for one in state["enclaves"] if one["EnclaveID"] == wanted]
    state["enclaves"].remove(enclave)
    print(f"Successfully terminated enclave {wanted}.", file=sys.stderr)
    return {"EnclaveName": enclave["EnclaveName"], "EnclaveID": wanted, "Terminated": True}


def main() -> int:
    command, *rest = sys.argv[1:]
    options = dict(zip(rest[::2], rest[1::2], strict=True))
    state = load()
    state["calls"].append([command, *rest])
    code = state["fail"].get(command, 0)
    answer = None
    if not code:
        match command:
            case "run-enclave":
                answer = run(state, options)
            case "describe-enclaves":
                answer = state["enclaves"]
            case "terminate-enclave":
                answer = terminate(state, options)
    save(state)
    if code:
        print("[ E39 ] Enclave process connection failure.", file=sys.stderr)
        return code
    print(state["say"].get(command) or json.dumps(answer, indent=2))
    return 0


if __name__ == "__main__":
    sys.exit(main())
