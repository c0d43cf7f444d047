"""What the enclave refuses to sign, asked at its own door by a client that breaks the rules on purpose."""

from __future__ import annotations

import pytest

from cosigner import EnclaveRefused
from protocol.messages import PsbtPayload, Sign, Signed, SolanaPayload
from tests.support.world import Host, bitcoin_psbt, client, run, solana_message
from threshold import frost_begin

ELSEWHERE = "So11111111111111111111111111111111111111112"
ELSEWHERE_BITCOIN = "bc1p5cyxnuxmeuwuvkwfem96lqzszd02n6xdcjrs20cac6yqjjwudpxqkedrcr"


async def wallets(tmp_path):
    host = Host()
    await host.start_enclave()
    user = client(host, tmp_path)
    return host, user, await user.create_wallet("solana"), await user.create_wallet("bitcoin")


async def ask(user, wallet, payload, *, count=1, epoch=None, spoil=None):
    share, _ = user._store.load(wallet.wallet_id)
    _, commitments = frost_begin(share, count)
    session = await user._keeper.session()
    request = Sign(
        wallet_id=wallet.wallet_id,
        epoch=wallet.epoch if epoch is None else epoch,
        payload=payload,
        path=[],
        commitments=spoil(commitments) if spoil else commitments,
    )
    return await session.call(request, Signed)


async def refused_with(code, *args, **kwargs):
    with pytest.raises(EnclaveRefused) as refused:
        await ask(*args, **kwargs)
    assert refused.value.code == code


def test_a_payload_of_another_chain_is_refused(tmp_path):
    async def scenario():
        _, user, solana, bitcoin = await wallets(tmp_path)
        await refused_with("payload_wrong_chain", user, solana, PsbtPayload(bitcoin_psbt(bitcoin.address)))
        await refused_with(
            "payload_wrong_chain", user, bitcoin, SolanaPayload(solana_message(solana.address))
        )

    run(scenario)


def test_a_transaction_of_somebody_else_is_refused(tmp_path):
    async def scenario():
        _, user, solana, bitcoin = await wallets(tmp_path)
        await refused_with("solana_not_a_signer", user, solana, SolanaPayload(solana_message(ELSEWHERE)))
        await refused_with(
            "psbt_no_input_of_wallet", user, bitcoin, PsbtPayload(bitcoin_psbt(ELSEWHERE_BITCOIN))
        )

    run(scenario)


def test_too_few_and_too_many_commitments_are_refused(tmp_path):
    async def scenario():
        _, user, solana, bitcoin = await wallets(tmp_path)
        message = SolanaPayload(solana_message(solana.address))
        await refused_with("commitments_wrong_count", user, solana, message, count=2)
        psbt = PsbtPayload(bitcoin_psbt(bitcoin.address, inputs=3))
        for count in (1, 2, 4):
            await refused_with("commitments_wrong_count", user, bitcoin, psbt, count=count)

    run(scenario)


def test_an_epoch_that_does_not_exist_is_refused(tmp_path):
    async def scenario():
        _, user, solana, _ = await wallets(tmp_path)
        message = SolanaPayload(solana_message(solana.address))
        await refused_with("epoch_stale", user, solana, message, epoch=2)

    run(scenario)


@pytest.mark.parametrize(
    "spoil",
    [
        lambda commitments: [bytes(len(c)) for c in commitments],
        lambda commitments: [c[:-1] for c in commitments],
        lambda commitments: [c + b"\x00" for c in commitments],
        lambda commitments: [b"\xff" * len(c) for c in commitments],
        lambda commitments: [b"\x01" + bytes(31) + c[32:] for c in commitments],
    ],
    ids=["zeros", "short", "long", "ones", "identity"],
)
@pytest.mark.parametrize("chain", ["solana", "bitcoin"])
def test_commitments_that_are_not_points_are_refused_and_the_wallet_still_signs(tmp_path, spoil, chain):
    async def scenario():
        _, user, solana, bitcoin = await wallets(tmp_path)
        wallet, payload = (
            (solana, SolanaPayload(solana_message(solana.address)))
            if chain == "solana"
            else (bitcoin, PsbtPayload(bitcoin_psbt(bitcoin.address)))
        )
        with pytest.raises(EnclaveRefused) as refused:
            await ask(user, wallet, payload, spoil=spoil)
        assert refused.value.code in {"invalid_commitment", "malformed_message"}
        assert len((await ask(user, wallet, payload)).shares) == 1

    run(scenario)


def test_nonces_are_fresh_for_every_request(tmp_path):
    """Sixteen answers to one and the same message: no commitment and no signature share comes twice."""

    async def scenario():
        _, user, solana, _ = await wallets(tmp_path)
        message = SolanaPayload(solana_message(solana.address))
        answers = [await ask(user, solana, message) for _ in range(16)]
        assert len({answer.commitments[0] for answer in answers}) == 16
        assert len({answer.shares[0] for answer in answers}) == 16

    run(scenario)


def test_the_answer_says_what_was_understood(tmp_path):
    async def scenario():
        _, user, solana, bitcoin = await wallets(tmp_path)
        answer = await ask(user, solana, SolanaPayload(solana_message(solana.address, 2**64 - 1)))
        assert answer.summary["fee_payer"] == solana.address
        assert "18446744073709551615" in str(answer.summary)
        answer = await ask(user, bitcoin, PsbtPayload(bitcoin_psbt(bitcoin.address)))
        assert answer.summary["fee"] == 1000

    run(scenario)


def test_begin_dkg_refuses_what_it_does_not_serve(tmp_path):
    async def scenario():
        from protocol.messages import BeginDkg, DkgBegun

        _, user, _, _ = await wallets(tmp_path)
        session = await user._keeper.session()
        good = {
            "wallet_id": "00000000-0000-4000-8000-000000000000",
            "suite": "frost-ed25519",
            "chain": "solana",
            "network": "",
            "threshold": 2,
            "parties": 2,
            "message1": b"m",
        }
        for change, code in (
            ({"chain": "dogecoin"}, "chain_unsupported"),
            ({"suite": "frost-secp256k1-tr"}, "chain_unsupported"),
            ({"network": "mainnet"}, "network_unsupported"),
            ({"threshold": 1}, "party_set_unsupported"),
            ({"parties": 3}, "party_set_unsupported"),
            ({}, "malformed_message"),
        ):
            with pytest.raises(EnclaveRefused) as refused:
                await session.call(BeginDkg(**(good | change)), DkgBegun)
            assert refused.value.code == code

    run(scenario)
