"""Two shares sign, or give the key back, with no service: the user's and the backup's, the user's and what the enclave gave out."""

from __future__ import annotations

import asyncio
import itertools

import pytest
from eth_account import Account
from eth_account.messages import encode_defunct

from cosigner.errors import CosignerError
from cosigner.offline import OfflineWallet, fitting
from protocol.chains import CHAINS
from protocol.wallets import WalletInfo
from tests.cosigner.payloads import psbt, solana_message
from tests.support.world import verify_solana
from threshold import KeyShare, dkg_start

WALLET_ID = "0f8fad5b-d9cb-469f-a165-70867728950e"


def three(chain: str) -> tuple[WalletInfo, dict[int, KeyShare]]:
    """A 2-of-3 key, made by three parties."""
    suite, network = CHAINS[chain].suite, CHAINS[chain].networks[0]
    parties = (1, 2, 3)
    begun = {party: dkg_start(suite, party, 2, 3, bytes(32)) for party in parties}

    def others(party: int) -> list[int]:
        return [other for other in parties if other != party]

    second = {
        party: begun[party][0].advance({other: begun[other][1] for other in others(party)})
        for party in parties
    }
    third = {
        party: second[party][0].advance({other: second[other][1][party] for other in others(party)})
        for party in parties
    }
    shares = {
        party: third[party][0].confirm({other: third[other][1] for other in others(party)})
        for party in parties
    }
    info = WalletInfo(
        wallet_id=WALLET_ID,
        share_set_id=WALLET_ID,
        suite=suite,
        chain=chain,
        network=network,
        epoch=1,
        threshold=2,
        parties=3,
        public_key=shares[1].group_public_key,
    )
    return info, shares


@pytest.mark.parametrize("pair", list(itertools.permutations((1, 2, 3), 2)))
@pytest.mark.parametrize("chain", ["solana", "bitcoin", "ethereum"])
def test_any_two_sign_and_the_chains_own_libraries_agree(chain: str, pair: tuple[int, int]) -> None:
    info, shares = three(chain)
    wallet = OfflineWallet(info, shares[pair[0]], shares[pair[1]])
    address = wallet.wallet.address
    if chain == "solana":
        message = solana_message(address)
        verify_solana(message, asyncio.run(wallet.sign_solana(message)).signature, address)
    elif chain == "bitcoin":
        signed = asyncio.run(wallet.sign_bitcoin(psbt(address)))
        assert signed.transaction is not None
    else:
        done = asyncio.run(wallet.sign_evm_message(b"hello"))
        assert Account.recover_message(encode_defunct(b"hello"), signature=done.signature) == address


@pytest.mark.parametrize("chain", ["solana", "bitcoin", "ethereum"])
def test_any_two_give_the_key(chain: str) -> None:
    info, shares = three(chain)
    for one, other in itertools.combinations(shares.values(), 2):
        key = asyncio.run(fitting(info, [one, other]).key())
        assert (key.public_key, key.suite) == (info.public_key, info.suite)


def test_shares_that_do_not_fit_are_refused() -> None:
    info, shares = three("solana")
    stranger, theirs = three("solana")
    for chosen in (
        [shares[1]],
        [shares[1], shares[1]],
        [shares[1], theirs[2]],
        [theirs[1], theirs[2]],
        [shares[1], shares[2], shares[3]],
    ):
        with pytest.raises(CosignerError) as caught:
            fitting(info, chosen)
        assert caught.value.code == "shares_mismatch"
    assert stranger.public_key != info.public_key
