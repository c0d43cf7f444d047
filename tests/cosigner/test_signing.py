"""Co-signing: the client signs what it read in the payload itself, or nothing."""

import asyncio
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import embit.transaction
import httpx
import msgspec
import pytest
from coincurve import PublicKeyXOnly
from embit.psbt import PSBT
from embit.script import Script, address_to_scriptpubkey
from solders.keypair import Keypair
from solders.transaction import Transaction

from cosigner.client import AsyncClient, Wallet
from cosigner.errors import CosignerError, EnclaveRefused, HostError, StoreError
from cosigner.signed import BitcoinSignature, SolanaSignature
from cosigner.store import ShareStore
from enclave import realm as enclave_realm
from protocol.envelope.errors import Culprit
from protocol.messages import Sign, Signed
from tests.cosigner.payloads import RECIPIENT, psbt, solana_message
from tests.cosigner.world import Forward, World, open_store, record_number
from threshold import PayloadError, ThresholdError
from threshold.tasks import signing_task

UNKNOWN = "0f8fad5b-d9cb-469f-a165-70867728950e"


class House:
    """A world with one wallet of each chain."""

    def __init__(self, directory: Path) -> None:
        self.world = World()
        self.store = open_store(directory)
        self.wallets: dict[str, Wallet] = {
            chain: self.world.run(lambda client, c=chain: client.create_wallet(c), self.store)
            for chain in ("solana", "bitcoin")
        }

    def sign_solana(self, message: bytes, **more: Any) -> SolanaSignature:
        wallet_id = self.wallets["solana"].wallet_id
        return self.world.run(lambda client: client.sign_solana(wallet_id, message, **more), self.store)

    def sign_bitcoin(self, payload: bytes) -> BitcoinSignature:
        wallet_id = self.wallets["bitcoin"].wallet_id
        return self.world.run(lambda client: client.sign_bitcoin(wallet_id, payload), self.store)


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> House:
    return House(tmp_path_factory.mktemp("house"))


@pytest.fixture
def house(shared: House) -> Iterator[House]:
    """The house, with a fresh record of what was seen."""
    shared.world.seen = type(shared.world.seen)()
    yield shared
    assert shared.world.rule.__name__ == "honest"


# --- when all goes well ----------------------------------------------------------------------------------------------------------


def test_a_solana_transaction_is_accepted_by_solders(house: House) -> None:
    message = solana_message(house.wallets["solana"].address)
    signed = house.sign_solana(message)
    assert signed.transaction is not None
    transaction = Transaction.from_bytes(signed.transaction)
    transaction.verify()
    assert bytes(transaction.message) == signed.message == message
    assert bytes(transaction.signatures[0]) == signed.signature
    assert signed.summary["fee_payer"] == house.wallets["solana"].address
    assert len(house.world.seen.records) == 1  # one round trip


def test_a_transaction_that_others_must_sign_is_complete_only_with_their_signatures(house: House) -> None:
    other = Keypair()
    message = solana_message(house.wallets["solana"].address, also=str(other.pubkey()))
    alone = house.sign_solana(message)
    assert alone.transaction is None
    theirs = {bytes(other.pubkey()): bytes(other.sign_message(message))}
    together = house.sign_solana(message, other_signatures=theirs)
    assert together.transaction is not None
    Transaction.from_bytes(together.transaction).verify()


def test_a_wrong_signature_of_another_signer_makes_no_transaction(house: House) -> None:
    other = Keypair()
    message = solana_message(house.wallets["solana"].address, also=str(other.pubkey()))
    for theirs in ({bytes(other.pubkey()): bytes(64)}, {bytes(32): bytes(other.sign_message(message))}):
        with pytest.raises(PayloadError):
            house.sign_solana(message, other_signatures=theirs)


@pytest.mark.parametrize(("ours", "foreign"), [(1, 0), (3, 0), (2, 1)])
def test_every_input_of_the_wallet_gets_a_signature_that_coincurve_accepts(
    house: House, ours: int, foreign: int
) -> None:
    address = house.wallets["bitcoin"].address
    payload = psbt(address, inputs=ours, foreign=foreign)
    signed = house.sign_bitcoin(payload)
    assert sorted(signed.signatures) == list(range(ours))
    unsigned = PSBT.parse(payload).tx
    script = address_to_scriptpubkey(address)
    scripts = [script] * ours + [Script(b"\x51\x20" + RECIPIENT)] * foreign
    for index, signature in signed.signatures.items():
        digest = unsigned.sighash_taproot(index, script_pubkeys=scripts, values=[60_000] * len(scripts))
        assert signed.sighashes[index] == digest
        assert PublicKeyXOnly(script.data[2:]).verify(signature, digest)
    if foreign:
        assert signed.transaction is None
    else:
        assert signed.transaction is not None
        assert embit.transaction.Transaction.parse(signed.transaction).txid() == unsigned.txid()


def test_two_signatures_over_one_message_differ_and_both_hold(house: House) -> None:
    message = solana_message(house.wallets["solana"].address)
    first, second = house.sign_solana(message), house.sign_solana(message)
    assert first.signature != second.signature  # fresh nonces on both sides


def test_many_signatures_at_once_with_one_client(house: House) -> None:
    wallet = house.wallets["solana"]

    async def many(client: AsyncClient) -> list[SolanaSignature]:
        message = solana_message(wallet.address)
        return await asyncio.gather(*(client.sign_solana(wallet.wallet_id, message) for _ in range(6)))

    assert len({signed.signature for signed in house.world.run(many, house.store)}) == 6


# --- what is refused before anything is sent -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("chain", "payload", "code"),
    [
        ("solana", b"", "solana_malformed"),
        ("solana", b"\x00" * 40, None),
        ("solana", bytes(2000), "solana_too_large"),
        ("solana", psbt("bc1p6uedqg6eyt0l44y4l7ypl5phfzywm0yszy8mre339sw5fwp3wvnsan0ct2"), None),
        ("bitcoin", b"", "psbt_malformed"),
        ("bitcoin", b"psbt\xff", "psbt_malformed"),
        ("bitcoin", bytes((512 << 10) + 1), "psbt_too_large"),
    ],
)
def test_a_payload_of_another_form_is_refused_and_nothing_is_sent(
    house: House, chain: str, payload: bytes, code: str | None
) -> None:
    with pytest.raises(PayloadError) as caught:
        house.sign_solana(payload) if chain == "solana" else house.sign_bitcoin(payload)
    assert caught.value.code == code or (code is None and caught.value.code.startswith(chain[:4]))
    assert house.world.seen.records == []
    assert house.world.seen.hellos == []


def test_a_transaction_of_somebody_else_is_refused_and_nothing_is_sent(house: House) -> None:
    with pytest.raises(PayloadError) as caught:
        house.sign_solana(solana_message(str(Keypair().pubkey())))
    assert caught.value.code == "solana_not_a_signer"
    with pytest.raises(PayloadError) as caught:
        house.sign_bitcoin(psbt("bc1p6uedqg6eyt0l44y4l7ypl5phfzywm0yszy8mre339sw5fwp3wvnsan0ct2"))
    assert caught.value.code == "psbt_no_input_of_wallet"
    assert house.world.seen.records == []


def test_a_payload_of_another_chain_is_refused(house: House) -> None:
    solana, bitcoin = house.wallets["solana"], house.wallets["bitcoin"]
    for sign in (
        lambda client: client.sign_solana(bitcoin.wallet_id, solana_message(solana.address)),
        lambda client: client.sign_bitcoin(solana.wallet_id, psbt(bitcoin.address)),
    ):
        with pytest.raises(PayloadError) as caught:
            house.world.run(sign, house.store)
        assert caught.value.code == "payload_wrong_chain"
    assert house.world.seen.records == []


def test_a_wallet_that_is_not_on_this_device_is_refused(house: House) -> None:
    with pytest.raises(StoreError) as caught:
        house.world.run(lambda client: client.sign_solana(UNKNOWN, b"message"), house.store)
    assert caught.value.code == "wallet_missing"


# --- a hostile enclave ---------------------------------------------------------------------------------------------------------------


def answering(house: House, change: Callable[[Signed], Signed], *, chain: str = "solana") -> Exception:
    """What the client makes of an enclave that answers otherwise than it should."""
    real = enclave_realm.signing.sign

    async def deceive(permit: Any, judged: Any, request: Sign) -> Signed:
        return change(await real(permit, judged, request))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(enclave_realm.signing, "sign", deceive)
        with pytest.raises((CosignerError, ThresholdError)) as caught:
            if chain == "solana":
                house.sign_solana(solana_message(house.wallets["solana"].address))
            else:
                house.sign_bitcoin(psbt(house.wallets["bitcoin"].address, inputs=2))
    assert len(house.world.seen.records) == 1, "a wrong answer is not asked for again"
    return caught.value


@pytest.mark.parametrize("chain", ["solana", "bitcoin"])
@pytest.mark.parametrize(
    "digests",
    [
        lambda digests: [b"another message"] * len(digests),
        lambda digests: [*digests, digests[0]],
        lambda digests: digests[1:] or [b""],
        lambda digests: [digests[0][:-1] + bytes([digests[0][-1] ^ 1]), *digests[1:]],
        lambda digests: [digest + b"\x00" for digest in digests],
    ],
    ids=["other", "more", "fewer", "altered", "longer"],
)
def test_an_enclave_that_understood_another_payload_gets_no_signature(
    house: House, chain: str, digests: Callable[[list[bytes]], list[bytes]]
) -> None:
    error = answering(
        house, lambda signed: msgspec.structs.replace(signed, digests=digests(signed.digests)), chain=chain
    )
    assert isinstance(error, CosignerError)
    assert (error.code, error.culprit) == ("digest_mismatch", Culprit.ENCLAVE)


def test_digests_in_another_order_are_another_payload(house: House) -> None:
    error = answering(
        house,
        lambda signed: msgspec.structs.replace(signed, digests=signed.digests[::-1]),
        chain="bitcoin",
    )
    assert isinstance(error, CosignerError)
    assert error.code == "digest_mismatch"


@pytest.mark.parametrize("chain", ["solana", "bitcoin"])
@pytest.mark.parametrize(
    "change",
    [
        lambda s: {"shares": [bytes(32)] * len(s.shares)},
        lambda s: {"shares": [b"\xff" * 32] * len(s.shares)},
        lambda s: {"shares": [b"x"] * len(s.shares)},
        lambda s: {"shares": [share + b"\x00" for share in s.shares]},
        lambda s: {"shares": [bytes([share[0] ^ 1]) + share[1:] for share in s.shares]},
        lambda s: {"shares": [*s.shares, s.shares[0]]},
        lambda s: {"shares": s.shares[1:] or [b"x"]},
        lambda s: {"commitments": [bytes(64)] * len(s.commitments)},
        lambda s: {"commitments": [b"\xff" * 66] * len(s.commitments)},
        lambda s: {"commitments": [b"x"] * len(s.commitments)},
        lambda s: {"commitments": [*s.commitments, s.commitments[0]]},
        lambda s: {"commitments": [c[len(c) // 2 :] + c[: len(c) // 2] for c in s.commitments]},
    ],
    ids=[
        "zero",
        "ones",
        "short",
        "long",
        "altered",
        "more",
        "fewer",
        "zeroC",
        "onesC",
        "shortC",
        "moreC",
        "swappedC",
    ],
)
def test_garbage_in_place_of_shares_is_blamed_on_the_enclave(
    house: House, chain: str, change: Callable[[Signed], dict[str, Any]]
) -> None:
    error = answering(house, lambda signed: msgspec.structs.replace(signed, **change(signed)), chain=chain)
    assert isinstance(error, ThresholdError)
    assert error.culprit == 2
    assert error.reaction == "abort"


def test_shares_in_another_order_are_blamed_on_the_enclave(house: House) -> None:
    error = answering(
        house, lambda signed: msgspec.structs.replace(signed, shares=signed.shares[::-1]), chain="bitcoin"
    )
    assert isinstance(error, ThresholdError)
    assert (error.code, error.culprit) == ("invalid_signature_share", 2)


def test_an_answer_to_an_earlier_request_is_blamed_on_the_enclave(house: House) -> None:
    """Shares for other commitments of the client: a replay inside the enclave."""
    earlier: list[Signed] = []
    real = enclave_realm.signing.sign

    async def replay(permit: Any, judged: Any, request: Sign) -> Signed:
        earlier.append(await real(permit, judged, request))
        return earlier[0]

    message = solana_message(house.wallets["solana"].address)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(enclave_realm.signing, "sign", replay)
        house.sign_solana(message)
        with pytest.raises(ThresholdError) as caught:
            house.sign_solana(message)
    assert caught.value.culprit == 2


def test_what_the_enclave_says_about_the_payload_is_not_what_is_shown(house: House) -> None:
    """The summary is the client's own reading."""
    real = enclave_realm.signing.sign

    async def embellish(permit: Any, judged: Any, request: Sign) -> Signed:
        return msgspec.structs.replace(
            await real(permit, judged, request), summary={"fee_payer": "somebody else"}
        )

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(enclave_realm.signing, "sign", embellish)
        signed = house.sign_solana(solana_message(house.wallets["solana"].address))
    assert signed.summary["fee_payer"] == house.wallets["solana"].address


@pytest.mark.parametrize("code", ["epoch_stale", "wallet_unknown", "sealed_record_rejected"])
def test_a_refusal_of_the_enclave_is_passed_on_and_not_repeated(house: House, code: str) -> None:
    async def refuse(*_: object) -> None:
        raise CosignerError(code, "No.", culprit=Culprit.STORAGE)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(enclave_realm.signing, "sign", refuse)
        with pytest.raises(EnclaveRefused) as caught:
            house.sign_solana(solana_message(house.wallets["solana"].address))
    assert (caught.value.code, caught.value.culprit) == (code, Culprit.STORAGE)
    assert len(house.world.seen.records) == 1


# --- a hostile host ------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("lost", ["altered", "no answer"])
def test_a_lost_answer_is_asked_for_again_under_the_same_key_and_signed_once(house: House, lost: str) -> None:
    """The same commitments and the same idempotency key: the enclave gives the answer that it gave before."""
    asked: list[list[bytes]] = []
    real = enclave_realm.signing.sign

    async def watch(permit: Any, judged: Any, request: Sign) -> Signed:
        asked.append(request.commitments)
        return await real(permit, judged, request)

    async def lose_once(request: httpx.Request, forward: Forward) -> httpx.Response:
        response = await forward(request)
        if record_number(request) == 0 and len(house.world.seen.records) == 1:
            if lost == "no answer":
                raise httpx.ReadTimeout("")
            return httpx.Response(200, content=b"altered")
        return response

    with pytest.MonkeyPatch.context() as patch, house.world.misbehaving(lose_once):
        patch.setattr(enclave_realm.signing, "sign", watch)
        signed = house.sign_solana(solana_message(house.wallets["solana"].address))
    assert signed.transaction is not None
    assert len(asked) == 1
    assert len(house.world.seen.sessions) == 2


def test_an_enclave_that_forgot_its_answer_answers_anew_and_one_of_the_two_is_used(house: House) -> None:
    async def lose_with_the_enclave(request: httpx.Request, forward: Forward) -> httpx.Response:
        response = await forward(request)
        if record_number(request) == 0 and len(house.world.seen.records) == 1:
            house.world.restart()
            raise httpx.ReadTimeout("")
        return response

    with house.world.misbehaving(lose_with_the_enclave):
        signed = house.sign_solana(solana_message(house.wallets["solana"].address))
    assert signed.transaction is not None
    assert len(house.world.seen.records) == 2


def test_a_network_that_loses_every_answer_is_given_up(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cosigner.actions._PAUSES", (0.0, 0.0))

    async def lose(request: httpx.Request, forward: Forward) -> httpx.Response:
        response = await forward(request)
        if record_number(request) is not None:
            raise httpx.ReadTimeout("")
        return response

    with house.world.misbehaving(lose), pytest.raises(HostError) as caught:
        house.sign_solana(solana_message(house.wallets["solana"].address))
    assert caught.value.code == "host_unreachable"
    assert len(house.world.seen.records) == 3


def test_the_host_sees_neither_wallet_nor_payload_nor_signature(house: House) -> None:
    message = solana_message(house.wallets["solana"].address)
    answers = []

    async def watch(request: httpx.Request, forward: Forward) -> httpx.Response:
        response = await forward(request)
        answers.append(response.content)
        return response

    with house.world.misbehaving(watch):
        signed = house.sign_solana(message)
    seen = b"".join([*(record for _, record in house.world.seen.records), *answers])
    for secret in (message, message[:32], house.wallets["solana"].wallet_id.encode(), signed.signature[32:]):
        assert secret not in seen


def test_interpreting_needs_no_enclave(house: House) -> None:
    info = ShareStore.wallets(house.store._directory)
    solana = next(entry.info for entry in info if entry.info.chain == "solana")
    message = solana_message(house.wallets["solana"].address)
    task = signing_task(
        "solana_message", message, chain=solana.chain, public_key=solana.public_key, network=solana.network
    )
    assert (task.digests, task.tweaks, task.inputs) == ([message], None, [])
