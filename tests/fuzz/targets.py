"""Every parser that meets hostile bytes, as a function of bytes that returns or raises one of its declared refusals.

A target also checks what must hold whenever it accepts: one encoding only, and nothing accepted under a key but what was sealed with it.
Valid inputs to start from are made by the code here; ``test_targets.py`` makes sure that each of them is accepted.
"""

from __future__ import annotations

import asyncio
import base64
import json
import os
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any, TypeVar, cast

import cbor2
import httpx
import msgspec
from cryptography.hazmat.primitives.asymmetric import rsa

import policy
from attestation import AttestationError, TrustPolicy
from attestation.document import parse
from attestation.key_policy import render
from attestation.verify import verify
from cosigner import transport
from cosigner.backups.files import BackupFile
from cosigner.cli import inputs
from cosigner.config import ClientConfig, dump
from cosigner.errors import HostError
from cosigner.evm import unsigned_transaction
from cosigner.store import NextFile, ShareFile, StoreFile
from cosigner.store.formats import EpochFile
from cosigner.store.locators import LocatorsFile
from enclave import cms, manifest
from enclave.accounts import credentials, factors, recovery
from enclave.accounts.directory import LoginIndex
from enclave.accounts.holdings import Holding
from enclave.accounts.ownership import HandedOver, WalletRecord
from enclave.accounts.user import Lockout, RecoveryKey, UserRecord
from enclave.backups.book import BackupBook, StoredBackup
from enclave.key_policy import Measurement, judge_policy
from enclave.keys import WrappedKey
from enclave.kms_errors import KmsError
from enclave.records import StoredRecord
from enclave.vault import StoredShare, StoredShareSet
from policy import PolicyError, rendering
from policy import usage as policy_usage
from policy.abi import function
from policy.calldata import CalldataError, decode_call
from policy.phrases import policy_in_words
from protocol import channel
from protocol.binding import AttestedKeys
from protocol.channel import Channel, ChannelKey, ClientHandshake
from protocol.envelope import cbor, frames
from protocol.envelope.address import Address
from protocol.envelope.errors import CosignerError, Culprit, ProtocolError
from protocol.envelope.messages import (
    LinkReplyFrame,
    LinkRequestFrame,
    StorageReplyFrame,
    StorageRequestFrame,
    TunnelOpen,
    TunnelReply,
)
from protocol.messages import Answer, Call
from protocol.wallets import PasscodeSetup
from simulator.kms.envelope import Encoding, seal_for_recipient
from simulator.nsm import FakeNsm, encode_payload, sign_document
from simulator.pki import NitroPki
from tests.cosigner.ceremonies import Ceremony, ceremony
from tests.cosigner.payloads import psbt, solana_message
from tests.enclave.accounts import users
from tests.enclave.accounts.hostile import HostileStorage, records
from tests.policy.builders import ALICE, BOB, calldata, document, rule, token, transaction
from tests.protocol.samples import CLIENT_CONFIG, FAULT, PLAIN, SAMPLES, enveloped
from threshold import (
    EcdsaClientOt,
    EcdsaEnclaveOt,
    PayloadError,
    SealingKey,
    ThresholdError,
    dkg_start,
    ecdsa_begin,
    ecdsa_respond,
    ecdsa_setup_begin,
    ecdsa_setup_respond,
    frost_begin,
    frost_respond,
    verify_signature,
)
from threshold.ecdsa import MESSAGE1_LEN, MESSAGE2_LEN, SETUP_ANSWER_LEN
from threshold.payload import (
    bitcoin_address,
    evm_transaction_inspect,
    evm_typed_data_inspect,
    psbt_finalize,
    psbt_inspect,
    solana_address,
    solana_assemble,
    solana_inspect,
)

T = TypeVar("T")
Seeds = Callable[[], list[bytes]]


@dataclass(frozen=True)
class Target:
    """A parser under test.

    :ivar run: raises one of ``refusals`` or returns; anything else is a finding.
    :ivar seeds: inputs that it accepts.
    :ivar hostile: inputs that it may refuse, tried first.
    :ivar cpu_ms: what one input may cost, if that is bounded.
    """

    name: str
    run: Callable[[bytes], None]
    refusals: tuple[type[Exception], ...]
    seeds: Seeds
    hostile: Seeds = list
    cpu_ms: float | None = None


TARGETS: dict[str, Target] = {}


def target(
    *refusals: type[Exception], seeds: Seeds, hostile: Seeds = list, cpu_ms: float | None = None
) -> Callable[[Callable[[bytes], None]], Callable[[bytes], None]]:
    """Make a function a target; its name is the target's."""

    def register(function: Callable[[bytes], None]) -> Callable[[bytes], None]:
        name = function.__name__.replace("_", "-")
        TARGETS[name] = Target(name, function, refusals, cache(seeds), cache(hostile), cpu_ms)
        return function

    return register


# --- CBOR ------------------------------------------------------------------------------------------------------------------------


def _register_cbor(kind: Any, samples: list[Any], name: str = "") -> None:
    def run(data: bytes) -> None:
        value = cbor.decode(data, kind, culprit=Culprit.HOST)
        assert cbor.encode(value) == data, "two encodings of one value"

    name = f"cbor-{name or kind.__name__}"
    TARGETS[name] = Target(name, run, (ProtocolError,), lambda: [cbor.encode(sample) for sample in samples])


for _kind in (
    LinkRequestFrame,
    LinkReplyFrame,
    StorageRequestFrame,
    StorageReplyFrame,
    Call,
    Answer,
    AttestedKeys,
    manifest.Manifest,
    StoredShare,
    StoredShareSet,
    WrappedKey,
    ShareFile,
    StoreFile,
    NextFile,
    EpochFile,
    LocatorsFile,
    BackupFile,
):
    _register_cbor(_kind, [sample for sample in (*enveloped(), *PLAIN) if type(sample) is _kind])
_register_cbor(TunnelOpen, [SAMPLES[TunnelOpen]])
_register_cbor(
    TunnelReply,
    [FAULT, *(sample for kind, sample in SAMPLES.items() if kind.__name__ == "Done")],
    "TunnelReply",
)


@target(
    CosignerError,
    seeds=lambda: [cbor.encode(sample) for sample in PLAIN if isinstance(sample, manifest.Manifest)],
)
def manifest_parse(data: bytes) -> None:
    assert manifest.parse(data).encode() == data


_MEASURED = {index: bytes([index + 1]) * 48 for index in (0, 1, 2, 16)}
_ROLE = "arn:aws:iam::111122223333:role/host"


def _policies() -> list[bytes]:
    """Accepted as pinned, and accepted as editable."""
    other = {**_MEASURED, 0: bytes([0xEE]) * 48}
    return [
        render([_MEASURED], account="111122223333", role=_ROLE).encode(),
        render([_MEASURED, other], account="111122223333", role=_ROLE, editors=[_ROLE]).encode(),
    ]


@target(KmsError, seeds=_policies)
def key_policy(data: bytes) -> None:
    """Whatever a policy says, the judge ends in a verdict or in its own error."""
    ours = Measurement(image=_MEASURED[0], manifest=_MEASURED[16])
    judge_policy(data.decode("utf-8", "surrogateescape"), ours=ours, accept_editable=True)


# --- frames and addresses --------------------------------------------------------------------------------------------------------


def _finished(coroutine: Coroutine[Any, Any, T]) -> T:
    """The result of a coroutine that has all it needs and never waits; much faster than an event loop for each."""
    try:
        coroutine.send(None)
    except StopIteration as done:
        return cast("T", done.value)
    coroutine.close()
    raise AssertionError("it waits for more than there is")


class _Socket:
    """A blocking socket that hands its bytes out in small pieces."""

    def __init__(self, data: bytes) -> None:
        self._data = data

    def recv(self, count: int) -> bytes:
        piece, self._data = self._data[: min(count, 5)], self._data[min(count, 5) :]
        return piece


_LIMIT = 300  # so that oversized frames come up as well


@target(
    ProtocolError, seeds=lambda: [frames.pack(b"one"), frames.pack(b"1") + frames.pack(bytes(_LIMIT)), b""]
)
def frames_read(data: bytes) -> None:
    """Both readers see the same frames, and packing them again gives the same bytes."""
    loop = asyncio.new_event_loop()
    try:
        reader = asyncio.StreamReader(loop=loop)
        reader.feed_data(data)
        reader.feed_eof()
        bodies = []
        while (body := _finished(frames.read(reader, culprit=Culprit.HOST, limit=_LIMIT))) is not None:
            bodies.append(body)
    finally:
        loop.close()
    assert b"".join(map(frames.pack, bodies)) == data
    blocking = cast("Any", _Socket(data))
    assert [frames.read_blocking(blocking, culprit=Culprit.HOST, limit=_LIMIT) for _ in bodies] == bodies


@target(ValueError, seeds=lambda: [b"unix:/run/x", b"tcp:localhost:80", b"vsock:3:5000"])
def address_parse(data: bytes) -> None:
    address = Address.parse(data.decode("latin-1"))
    assert Address.parse(str(address)) == address


# --- the channel -----------------------------------------------------------------------------------------------------------------

_SESSION_ID = bytes(range(16))


@cache
def _channel_key() -> ChannelKey:
    return ChannelKey()


@cache
def _ends() -> tuple[Channel, Channel]:
    client = ClientHandshake(_channel_key().public_bytes, "sandbox")
    enclave, answer = _channel_key().open_hello(client.hello).answer(_SESSION_ID, 600)
    return client.finish(answer), enclave


@cache
def _hellos() -> list[bytes]:
    return [ClientHandshake(_channel_key().public_bytes, name).hello for name in ("sandbox", "a")]


@target(ProtocolError, seeds=_hellos)
def channel_open_hello(data: bytes) -> None:
    _channel_key().open_hello(data)
    assert data in _hellos(), "a forged hello was opened"


def _hello_plaintexts() -> list[bytes]:
    return [
        cbor.encode(
            channel.ClientHello(
                version=1,
                environment=name,
                client_key=ChannelKey().public_bytes,
                client_random=os.urandom(32),
                ecdsa_setup=setup,
            )
        )
        for name, setup in (("sandbox", None), ("a", os.urandom(40)))
    ]


@target(ProtocolError, seeds=_hello_plaintexts)
def channel_hello_content(data: bytes) -> None:
    """What a hostile client seals properly, and the answer to the key inside."""
    key = _channel_key()
    sealed = channel._SUITE.encrypt(
        data, channel._public_key(key.public_bytes), info=channel._LABEL_HELLO + key.hash
    )
    key.open_hello(key.key_id + sealed).answer(_SESSION_ID, 60)


def _answer_plaintexts() -> list[bytes]:
    hello = channel.EnclaveHello(
        version=1, session_id=_SESSION_ID, enclave_random=os.urandom(32), lifetime=60
    )
    return [cbor.encode(hello)]


@target(ProtocolError, seeds=_answer_plaintexts)
def channel_answer_content(data: bytes) -> None:
    """What a hostile enclave seals properly: refused as malformed, or accepted with the right confirmation."""
    client = ClientHandshake(_channel_key().public_bytes, "sandbox")
    received = _channel_key().open_hello(client.hello)._payload
    sealed = channel._SUITE.encrypt(
        data, channel._public_key(received.client_key), info=channel._answer_info(client.hello)
    )
    enclave_random = cbor2.loads(data)["enclave_random"] if data in _answer_plaintexts_cached() else bytes(32)
    secrets = channel._Secrets(
        key_hash=_channel_key().hash,
        hello=client.hello,
        sealed_answer=sealed,
        client_random=received.client_random,
        enclave_random=enclave_random,
    )
    client.finish(sealed + secrets.confirmation)


def _answer_plaintexts_cached() -> list[bytes]:
    return TARGETS["channel-answer-content"].seeds()


@cache
def _records() -> list[bytes]:
    client, _ = _ends()
    found = []
    for plaintext in (b"", b"request", bytes(500)):
        client._outgoing.counter = 7
        found.append(client.seal(plaintext))
    return found


@target(ProtocolError, seeds=_records)
def channel_open(data: bytes) -> None:
    _, enclave = _ends()
    enclave._incoming.counter = 7
    try:
        enclave.open(data)
    except ProtocolError:
        assert enclave._incoming.counter == 7, "a refused record changed the counter"
        raise
    assert data in _records(), "a forged record was opened"
    assert enclave._incoming.counter == 8


# --- attestation -----------------------------------------------------------------------------------------------------------------

_NOW = datetime(2031, 5, 6, 7, 8, 9, tzinfo=UTC)
_NONCE = bytes(range(32))
_PCRS = {index: bytes([index + 1]) * 48 for index in (0, 1, 2)}


@cache
def _pki() -> NitroPki:
    return NitroPki.ephemeral(_NOW)


def _nsm(*, indefinite: bool) -> FakeNsm:
    return FakeNsm(_pki(), measurements=_PCRS, clock=lambda: _NOW, indefinite=indefinite)


@cache
def _documents() -> list[bytes]:
    user_data = AttestedKeys(
        version=1, channel_key=bytes(32), key_policy="pinned", receipt_key=bytes(32)
    ).encode()
    return [
        *(_nsm(indefinite=form).attest(user_data, _NONCE, None) for form in (True, False)),
        _nsm(indefinite=True).attest(None, _NONCE, b"public key"),
    ]


@target(AttestationError, seeds=_documents, cpu_ms=50)
def attestation_parse(data: bytes) -> None:
    parse(data)


def _verify(data: bytes) -> None:
    policy = TrustPolicy(
        roots=frozenset({_pki().root_sha256}), pcrs={index: frozenset({pcr}) for index, pcr in _PCRS.items()}
    )
    verify(data, policy=policy, at=_NOW, nonce=_NONCE)


@target(AttestationError, seeds=_documents, cpu_ms=50)
def attestation_verify(data: bytes) -> None:
    _verify(data)
    known = [document.removeprefix(b"\xd2") for document in _documents()]
    # ECDSA is malleable: (r, -s) verifies as well, and the payload is then the same.
    assert data.removeprefix(b"\xd2")[:-48] in [document[:-48] for document in known], "a forged document"


@cache
def _chain() -> Any:
    return _pki().chain("i-0123456789abcdef0-enc0123456789abcdef", _NOW)


def _payloads() -> list[bytes]:
    fields = {
        "module_id": "i-0123456789abcdef0-enc0123456789abcdef",
        "digest": "SHA384",
        "timestamp": int(_NOW.timestamp() * 1000),
        "pcrs": {**_PCRS, 16: b"\x10" * 48},
        "certificate": _chain().leaf.der,
        "cabundle": list(_chain().cabundle),
        "public_key": None,
        "user_data": b"user data",
        "nonce": _NONCE,
    }
    return [encode_payload(fields, indefinite=form) for form in (True, False)]


@target(AttestationError, seeds=_payloads, cpu_ms=50)
def attestation_signed_payload(data: bytes) -> None:
    """The payload of a document whose signature holds, so that what comes after the signature is reached."""
    _verify(sign_document(data, _chain().leaf.key))


# --- KMS -------------------------------------------------------------------------------------------------------------------------


@cache
def _rsa_key() -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(public_exponent=65537, key_size=2048)


@target(
    cms.EnvelopeError,
    seeds=lambda: [
        seal_for_recipient(bytes(length), _rsa_key().public_key(), encoding)
        for encoding in Encoding
        for length in (32, 2500)
    ],
)
def cms_decrypt(data: bytes) -> None:
    assert cms.decrypt(data, _rsa_key())


# --- policies ----------------------------------------------------------------------------------------------------------------------

_SWAP = function("swap(address,(address,uint256,bytes)[],int8[2],string)")
_SWAPPED = (ALICE, [(ALICE, 1, b"abc"), (BOB, 2, b"")], [-1, 5], "text")


def _policies() -> list[bytes]:
    limits = [{"asset": "USDC", "maxPerCall": "5.5", "totalLimit": "9", "window": "24h"}]
    constraints = [{"index": 1, "path": [1], "operator": "in", "value": ["1", "0x2"]}]
    tree = document(
        rule(
            "a",
            chainIds=[1],
            addresses=[ALICE],
            valueLimits=limits,
            hours=[{"from": "09:00", "until": "17:00"}],
        ),
        rule(
            "b", "deny", contracts=[BOB], blind=["evm.call"], notAfter="2030-01-01T00:00:00Z", cautious=False
        ),
        rule("c", functionName=_SWAP.signature, argumentConstraints=constraints),
        rule("f", payloads=["message"], rateLimit={"count": 3, "window": "1h"}),
        rule("d", chain="SVM", addresses=["9An8VkXwkSf6wbairDwYwRFcYyFSHp8ECni45AJandvu"]),
        wallet=[
            rule(
                "e", requires={"approvals": {"count": 1, "of": ["x", "y"]}}, typedData=[{"primaryType": "P"}]
            )
        ],
    )
    return [json.dumps(tree).encode(), policy.policy_bytes(policy.parse(json.dumps(tree).encode()))]


@target(PolicyError, seeds=_policies)
def policy_parse(data: bytes) -> None:
    """Whatever is read has one form, decides without an error, and can be shown."""
    rules = policy.parse(data)
    canonical = policy.policy_bytes(rules)
    assert policy.parse(canonical) == rules
    assert policy.policy_bytes(policy.parse(canonical)) == canonical
    policy_in_words(rules)
    action = policy.Action("sign", 1_795_608_000, "EVM")
    for summary in (transaction(value=5), token("approve(address,uint256)", BOB, 5), policy.EvmMessage()):
        decision = policy.decide(action, summary, rules, policy.Usage())
        json.dumps(rendering.tree(decision))
        rendering.lines(decision)


def _usages() -> list[bytes]:
    keys = [
        policy_usage.Key("wallet", "r", name, window) for name in ("#signed", "ETH") for window in (0, 3600)
    ]
    usage = policy.Usage().charge([policy.Charge(key, 10**18) for key in keys], 1_795_608_000)
    return [usage.encode(), policy.Usage().encode()]


@target(PolicyError, seeds=_usages)
def policy_usage_decode(data: bytes) -> None:
    usage = policy.Usage.decode(data)
    assert usage.encode() == data, "two encodings of one state"
    assert all(usage.used(key, at) >= 0 for key in usage.counters for at in (0, 1_795_608_000))


@target(CalldataError, seeds=lambda: [calldata(_SWAP.signature, *_SWAPPED)])
def policy_calldata(data: bytes) -> None:
    """Whatever is decoded is what another library would encode."""
    assert calldata(_SWAP.signature, *decode_call(_SWAP, data)) == data, "two encodings of one call"


@target(PolicyError, seeds=lambda: [b"f()", _SWAP.signature.encode(), b"g(uint256[2][],(bool,bytes32)[3])"])
def policy_signature(data: bytes) -> None:
    signature = data.decode("latin-1")
    assert function(signature).signature == signature


# --- the client's inputs -----------------------------------------------------------------------------------------------------------


class _File:
    """What stands for a path to these bytes."""

    def __init__(self, content: bytes) -> None:
        self.read_bytes = lambda: content


@target(CosignerError, seeds=lambda: [dump(CLIENT_CONFIG).encode(), msgspec.json.encode(CLIENT_CONFIG)])
def config_json(data: bytes) -> None:
    ClientConfig.load(cast("Path", _File(data)))


@target(CosignerError, seeds=lambda: [base64.b64encode(b"message"), b"0a0b0c", b"  \xff\x00 "])
def input_solana(data: bytes) -> None:
    assert isinstance(inputs.solana_message_from(data), bytes)


@target(
    CosignerError,
    PayloadError,
    seeds=lambda: [
        *(transaction.hex().encode() for transaction in _evm_transactions()),
        *(json.dumps(fields).encode() for fields in _evm_fields()),
        b" 0xC0\n",
    ],
)
def input_evm_transaction(data: bytes) -> None:
    """A JSON object gives a transaction that the core parses, if its numbers fit; hexadecimal text gives any bytes."""
    unsigned = inputs.evm_transaction_from(data)
    try:
        raw = bytes.fromhex(data.decode("ascii").strip().removeprefix("0x"))
    except ValueError:
        nonce = json.loads(data)["nonce"]
        found = evm_transaction_inspect(unsigned)["nonce"]
        assert found == (nonce if isinstance(nonce, int) else int(nonce, 16))
    else:
        assert raw == unsigned


@target(ValueError, seeds=lambda: [b"m/0/5", b"0", b"2147483647/7"])
def input_derivation_path(data: bytes) -> None:
    path = inputs.derivation_path(data.decode())
    assert path
    assert all(0 <= index < 1 << 31 for index in path)
    assert inputs.derivation_path("/".join(map(str, path))) == path


@target(CosignerError, seeds=lambda: [base64.encodebytes(b"psbt\xff"), b"psbt\xff\x00\xff"])
def input_psbt(data: bytes) -> None:
    assert isinstance(inputs.psbt_from(data), bytes)


def _answered(data: bytes, status: int) -> transport.Transport:
    async def stream() -> Any:
        yield data

    handler = httpx.MockTransport(lambda _: httpx.Response(status, content=stream()))
    return transport.Transport("http://h", http=httpx.AsyncClient(base_url="http://h", transport=handler))


@target(HostError, seeds=lambda: [b'{"document": "ZG9j", "channelKey": "a2V5", "more": 1}'])
def host_attestation(data: bytes) -> None:
    asyncio.run(_answered(data, 200).attestation(_NONCE))


@target(
    seeds=lambda: [
        json.dumps({"code": "x", "detail": "y", "culprit": "host", "reaction": "abort"}).encode(),
        b'{"code": "enclave_unavailable"}',
    ]
)
def host_problem(data: bytes) -> None:
    """Whatever a host answers with an error status becomes a :class:`HostError` with a code."""
    assert transport._problem(500, data).code.isascii()


# --- the native core: payloads -----------------------------------------------------------------------------------------------------


@cache
def _ceremony(chain: str) -> Ceremony:
    return ceremony(chain)


def _solana_messages() -> list[bytes]:
    address = solana_address(_ceremony("solana").wallet.public_key)
    other = solana_address(bytes.fromhex("d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a"))
    legacy = solana_message(address, also=other)
    return [solana_message(address), legacy, b"\x80" + legacy + b"\x00"]


@target(PayloadError, seeds=_solana_messages)
def native_solana_inspect(data: bytes) -> None:
    assert solana_inspect(data)["signed_bytes"] == data


@target(PayloadError, seeds=lambda: [psbt(_address(), inputs=2, foreign=1), psbt(_address())])
def native_psbt_inspect(data: bytes) -> None:
    public_key = _ceremony("bitcoin").wallet.public_key
    for entry in psbt_inspect(data, public_key, "mainnet")["inputs"]:
        assert (entry["sighash"] is None) is not entry["ours"]
        assert entry["sighash"] is None or len(entry["sighash"]) == 32


def _evm_fields() -> list[dict[str, Any]]:
    """Transactions of all types, as JSON can hold them."""
    to = "0x" + "35" * 20
    call = {"chainId": 1, "nonce": 9, "gas": 21000, "to": to, "value": 10**18, "data": "0x64617461"}
    fees = {**call, "maxFeePerGas": 20, "maxPriorityFeePerGas": 10}
    access = {"accessList": [{"address": to, "storageKeys": [5]}]}
    authorization = {"chainId": 1, "address": to, "nonce": 1, "yParity": 1, "r": 5, "s": 6}
    return [
        {**call, "gasPrice": 20},
        {**call, "gasPrice": 20, **access},
        {**fees, **access, "to": None},
        {**fees, "maxFeePerBlobGas": 5, "blobVersionedHashes": ["0x" + "01" * 32]},
        {**fees, "authorizationList": [authorization]},
    ]


def _evm_transactions() -> list[bytes]:
    return [unsigned_transaction(fields) for fields in _evm_fields()]


@target(PayloadError, seeds=_evm_transactions)
def native_evm_transaction_inspect(data: bytes) -> None:
    details = evm_transaction_inspect(data)
    assert len(details["digest"]) == 32
    assert len(details["data"]) < len(data)


def _typed_data() -> list[bytes]:
    tree = {
        "types": {
            "EIP712Domain": [{"name": "name", "type": "string"}, {"name": "chainId", "type": "uint256"}],
            "Node": [
                {"name": "amount", "type": "int64"},
                {"name": "owner", "type": "address"},
                {"name": "data", "type": "bytes"},
                {"name": "next", "type": "Node"},
                {"name": "pairs", "type": "bytes2[2][]"},
            ],
        },
        "primaryType": "Node",
        "domain": {"name": "fuzz", "chainId": "0x1"},
        "message": {
            "amount": -5,
            "owner": "0x" + "35" * 20,
            "data": "0x00ff",
            "next": None,
            "pairs": [["0x0102", "0xffff"]],
        },
    }
    return [json.dumps(tree).encode()]


@target(PayloadError, seeds=_typed_data)
def native_evm_typed_data_inspect(data: bytes) -> None:
    assert evm_typed_data_inspect(data) == evm_typed_data_inspect(b" " + data)


def _address() -> str:
    return bitcoin_address(_ceremony("bitcoin").wallet.public_key, "mainnet")


@cache
def _shares(chain: str) -> tuple[Any, Any]:
    """Both parties' shares of one key."""
    made = _ceremony(chain)
    sealed = _sealing_key().seal_unconfirmed(made.state, b"")
    return _sealing_key().open_unconfirmed(sealed, b"").confirm(made.confirmations), made.enclave_share


def _sign(chain: str, message: bytes, tweaks: list[bytes | None] | None) -> bytes:
    client, enclave = _shares(chain)
    nonces, commitments = frost_begin(client, 1)
    response = frost_respond(enclave, [message], {1: commitments}, tweaks)
    (signature,) = nonces.finish(client, [message], {2: response}, tweaks)
    return signature


@cache
def _signed_psbt() -> tuple[bytes, bytes]:
    payload = psbt(_address())
    (entry,) = psbt_inspect(payload, _ceremony("bitcoin").wallet.public_key, "mainnet")["inputs"]
    assert entry["sighash"] is not None
    return payload, _sign("bitcoin", entry["sighash"], [b""])


@target(PayloadError, seeds=lambda: [_signed_psbt()[0]])
def native_psbt_finalize(data: bytes) -> None:
    finished = psbt_finalize(data, {0: _signed_psbt()[1]})
    assert finished["psbt"].startswith(b"psbt\xff")


@cache
def _signed_message() -> tuple[bytes, bytes]:
    message = _solana_messages()[0]
    return message, _sign("solana", message, None)


@target(PayloadError, seeds=lambda: [_signed_message()[0]])
def native_solana_assemble(data: bytes) -> None:
    message, signature = _signed_message()
    solana_assemble(data, {_ceremony("solana").wallet.public_key: signature})
    assert data == message, "a signature holds for another message"


@target(ThresholdError, seeds=lambda: [_signed_message()[1]])
def native_verify_signature(data: bytes) -> None:
    message, signature = _signed_message()
    verify_signature("frost-ed25519", _ceremony("solana").wallet.public_key, message, data)
    assert data == signature, "a signature was forged"


# --- the native core: sealed records -----------------------------------------------------------------------------------------------

_AD = b"associated data"


@cache
def _sealing_key() -> SealingKey:
    return SealingKey.from_data_key(b"k" * 32)


@cache
def _sealed_shares() -> list[bytes]:
    return [_sealing_key().seal_share(_shares(chain)[1], _AD) for chain in ("solana", "bitcoin")]


@target(ThresholdError, seeds=_sealed_shares)
def native_open_share(data: bytes) -> None:
    _sealing_key().open_share(data, _AD)
    assert data in _sealed_shares(), "a forged record was opened"


@cache
def _sealed_states() -> list[bytes]:
    return [_sealing_key().seal_unconfirmed(_ceremony(chain).state, _AD) for chain in ("solana", "bitcoin")]


@target(ThresholdError, seeds=_sealed_states)
def native_open_unconfirmed(data: bytes) -> None:
    _sealing_key().open_unconfirmed(data, _AD)
    assert data in _sealed_states(), "a forged record was opened"


@cache
def _sealed_bytes() -> list[bytes]:
    return [_sealing_key().seal_bytes(content, _AD) for content in (b"", b"content")]


@target(ThresholdError, seeds=_sealed_bytes)
def native_open_bytes(data: bytes) -> None:
    _sealing_key().open_bytes(data, _AD)
    assert data in _sealed_bytes(), "a forged record was opened"


# --- the native core: ceremonies ---------------------------------------------------------------------------------------------------

_CONTEXT = bytes(32)
_SUITES = {"solana": "frost-ed25519", "bitcoin": "frost-secp256k1-tr"}


def _altered(genuine: bytes, difference: bytes) -> bytes:
    """A message that is made anew each time, altered: XOR with ``difference``, and as long as that.

    The states that read such messages are used once, so that no fixed input could ever be valid; the difference zero is.
    """
    padded = genuine.ljust(len(difference), b"\x00")[: len(difference)]
    return bytes(a ^ b for a, b in zip(padded, difference, strict=True))


def _register_ceremony(chain: str) -> None:
    suite = _SUITES[chain]

    def start(identifier: int) -> Any:
        return dkg_start(suite, identifier, 2, 2, _CONTEXT)

    def message1(data: bytes) -> None:
        start(1)[0].advance({2: data})

    def message2(data: bytes) -> None:
        (ours, to_them), (theirs, to_us) = start(1), start(2)
        next_ours, _ = ours.advance({2: to_us})
        _, messages = theirs.advance({1: to_them})
        state, _ = next_ours.advance({2: _altered(messages[1], data)})
        assert not any(data), "an altered sub-share was accepted"
        assert state.group_public_key

    @cache
    def waiting() -> tuple[bytes, bytes]:
        made = ceremony(chain)
        return _sealing_key().seal_unconfirmed(made.state, b""), made.confirmations[2]

    def confirmation(data: bytes) -> None:
        sealed, genuine = waiting()
        _sealing_key().open_unconfirmed(sealed, b"").confirm({2: data})
        assert data == genuine, "another transcript was confirmed"

    def commitments(data: bytes) -> None:
        frost_respond(_shares(chain)[1], [bytes(32)], {1: [data]})

    def response(data: bytes) -> None:
        client, enclave = _shares(chain)
        nonces, ours = frost_begin(client, 1)
        (theirs,), (share,) = frost_respond(enclave, [bytes(32)], {1: ours})
        cut = max(0, len(data) - len(share))
        nonces.finish(
            client, [bytes(32)], {2: ([_altered(theirs, data[:cut])], [_altered(share, data[cut:])])}
        )
        assert not any(data), "an altered signature share was accepted"

    length = 64 if chain == "solana" else 66
    for name, run, seeds in (
        ("dkg-message1", message1, lambda: [start(2)[1]]),
        ("dkg-message2", message2, lambda: [bytes(103)]),
        ("dkg-confirmation", confirmation, lambda: [waiting()[1]]),
        ("frost-commitments", commitments, lambda: frost_begin(_shares(chain)[0], 2)[1]),
        ("frost-response", response, lambda: [bytes(length + 32)]),
    ):
        full = f"native-{name}-{suite.removeprefix('frost-')}"
        TARGETS[full] = Target(full, run, (ThresholdError,), cache(seeds))


for _chain_name in _SUITES:
    _register_ceremony(_chain_name)


# --- records of users --------------------------------------------------------------------------------------------------------------


def _users() -> list[UserRecord]:
    """A new user; one with everything there is; a service account."""
    first = users.credential(1)
    full, _ = users.with_totp(users.user(first, users.credential(2, sign_count=7), keys=2), users.by(first))
    both = users.by(first, second=True)
    full = factors.begin_totp(full, bytes(20), both, session=users.HERE, now_ms=users.NOW)
    full = credentials.make_device_code(full, bytes(48), both, now_ms=users.NOW)
    full = recovery.set_key(full, RecoveryKey(algorithm="p256", public_key=bytes(91)), both)
    full = recovery.begin(
        full,
        digest=bytes(32),
        session=bytes(32),
        credential=users.credential(3),
        session_key=users.key(9),
        time_lock_ms=users.DAY,
        now_ms=users.NOW,
    )
    return [users.user(), full, users.user(users.credential(1, type_="key"), kind="service")]


_register_cbor(UserRecord, _users())
_register_cbor(
    LoginIndex,
    [
        LoginIndex(version=1, login_id="ab" * 32, user_id=user_id, changed_at=users.NOW)
        for user_id in (users.USER_ID, None)
    ],
)
_register_cbor(
    WalletRecord,
    [
        WalletRecord(
            version=1,
            wallet_id=users.OTHER_ID,
            owner=users.USER_ID,
            owner_link=bytes(32),
            custody="delegated",
            created_at=users.NOW,
            history=(HandedOver(at=users.NOW, from_user=users.OTHER_ID, to_user=users.USER_ID),),
        )
    ],
)
_register_cbor(Holding, [Holding(version=1, wallets=(users.USER_ID, users.OTHER_ID))])
_register_cbor(
    BackupBook,
    [
        BackupBook(
            version=1,
            backups=(
                StoredBackup(
                    backup_id=users.OTHER_ID,
                    user_id=users.USER_ID,
                    share_set_id=users.OTHER_ID,
                    epoch=1,
                    confirmation=bytes(32),
                    party=1,
                    passcode=PasscodeSetup(salt=bytes(16), memory_kib=65536, iterations=3, parallelism=4),
                    verifier=bytes(32),
                    created_at=users.NOW,
                    proved_at=users.NOW,
                    locations=("service", "file"),
                    lockout=Lockout(attempts=1, locks=2, until=users.NOW),
                ),
            ),
        )
    ],
)
_register_cbor(StoredRecord, [StoredRecord(revision=1, sealed=bytes(68))])


@cache
def _stored_users() -> list[bytes]:
    """Users as storage holds them, all under one name and at one revision."""

    async def stored(record: UserRecord) -> bytes:
        storage = HostileStorage()
        await records(storage).write("users", users.USER_ID, record, expected=0)
        ((_, value),) = storage.records.values()
        return value

    return [asyncio.run(stored(record)) for record in _users()]


@target(CosignerError, seeds=_stored_users)
def records_read(data: bytes) -> None:
    storage = HostileStorage()
    storage.records[f"environments/sandbox/users/{users.USER_ID}"] = (1, data)
    asyncio.run(records(storage).read("users", users.USER_ID, UserRecord))
    assert data in _stored_users(), "a record was accepted that nobody sealed"


# --- the native core: two-party ECDSA ----------------------------------------------------------------------------------------------

_DIGEST = b"\x09" * 32
_PATH = [0, 5]


@cache
def _ecdsa_setup() -> tuple[bytes, bytes]:
    """A setup message and the answer to it."""
    message = ecdsa_setup_begin()[1]
    return message, ecdsa_setup_respond(message)[1]


@target(ThresholdError, seeds=lambda: [_ecdsa_setup()[0]])
def native_ecdsa_setup(data: bytes) -> None:
    _, answer = ecdsa_setup_respond(data)
    assert len(answer) == SETUP_ANSWER_LEN


@target(ThresholdError, seeds=lambda: [_ecdsa_setup()[1]])
def native_ecdsa_setup_answer(data: bytes) -> None:
    """Whether the answer is to this very setup shows only when the transfers are used."""
    assert ecdsa_setup_begin()[0].finish(data, _CONTEXT).alive


@cache
def _ecdsa_session() -> list[tuple[EcdsaClientOt, EcdsaEnclaveOt]]:
    """The one session; what burns it makes room for another."""
    return []


def _ecdsa_ends() -> tuple[EcdsaClientOt, EcdsaEnclaveOt]:
    kept = _ecdsa_session()
    if not kept or not all(end.alive for end in kept[0]):
        setup, message = ecdsa_setup_begin()
        answering, answer = ecdsa_setup_respond(message)
        kept[:] = [(setup.finish(answer, _CONTEXT), answering.bind(_CONTEXT))]
    return kept[0]


def _burnt_as_said(error: ThresholdError, end: EcdsaClientOt | EcdsaEnclaveOt) -> None:
    assert isinstance(error.culprit, int), "not blamed on the sender"
    assert end.alive == (error.reaction != "burn"), "burnt without saying so, or the other way round"


@target(ThresholdError, seeds=lambda: [bytes(MESSAGE1_LEN)])
def native_ecdsa_message1(data: bytes) -> None:
    client, enclave = _shares("ethereum")
    client_ot, enclave_ot = _ecdsa_ends()
    _, message1 = ecdsa_begin(client, client_ot, _DIGEST, _PATH, 2)
    try:
        answer = ecdsa_respond(enclave, enclave_ot, _altered(message1, data), _DIGEST, _PATH, 1)
    except ThresholdError as error:
        _burnt_as_said(error, enclave_ot)
        raise
    assert not any(data), "an altered request was answered"
    assert len(answer) == MESSAGE2_LEN


@target(ThresholdError, seeds=lambda: [bytes(MESSAGE2_LEN)])
def native_ecdsa_message2(data: bytes) -> None:
    client, enclave = _shares("ethereum")
    client_ot, enclave_ot = _ecdsa_ends()
    pending, message1 = ecdsa_begin(client, client_ot, _DIGEST, _PATH, 2)
    genuine = ecdsa_respond(enclave, enclave_ot, message1, _DIGEST, _PATH, 1)
    try:
        signature, _, public_key = pending.finish(_altered(genuine, data))
    except ThresholdError as error:
        _burnt_as_said(error, client_ot)
        raise
    assert not any(data), "an altered answer made a signature"
    assert (len(signature), len(public_key)) == (64, 33)


from tests.fuzz import attestation, decisions, identity, webhooks  # noqa: E402, F401 - they register their targets, and need what is above
