"""The log that the enclave writes at its own door, across restarts, against the audit: nothing found, and nothing hidden."""

from __future__ import annotations

from cosigner.audit_log import Trust
from cosigner.audit_log.live import head_over
from cosigner.config import ClientConfig
from protocol import accounts as a
from protocol import messages as m
from protocol.actions import TotpCode
from protocol.receipts import CodeEvidence, Decision, PasskeyEvidence
from tests.attacks.test_authorization import payment, refuses, started, with_wallet
from tests.support import logs
from tests.support.door import User
from tests.support.world import ENVIRONMENT, POLICY, Host, ThroughHost, run

TRUST = Trust(POLICY)
CONFIG = ClientConfig("http://host.invalid", ENVIRONMENT, POLICY)


def kept(host: Host) -> list[logs.LogRecord]:
    return [record for chain, found in host.storage.log.items() for record in logs.records(chain, found)]


async def worked(host: Host) -> tuple[User, str, list[m.SignedEntry]]:
    """A user with a passkey signs, is refused, has the enclave restart under them, and signs again."""
    user, wallet = await with_wallet(host)
    receipts = []
    for _ in range(2):
        _, request = user.sign_request(wallet, payment(user, wallet))
        await user.door.call(request, m.Signed, authorization=user.authorize(request))
        receipts.append(user.door.last.receipt)
        eve = await User.log_in(host)
        refused = await refuses("not_owner", eve.door.call(request))
        receipts.append(refused.receipt)
        await host.start_enclave()
        await user.reopen()
    return user, wallet, receipts


def test_what_an_enclave_writes_passes_the_audit_with_every_receipt():
    async def scenario():
        host = await started()
        user, wallet, receipts = await worked(host)
        await user.sign(wallet, payment(user, wallet))
        head = await head_over(ThroughHost(host), CONFIG)
        report = logs.audit(kept(host), trust=TRUST, receipts=receipts, live=head)
        assert report.problems == []
        assert len(report.chains) == 3
        assert all(
            chain.vouched == chain.last for chain in report.chains
        )  # by receipts, later chains, the enclave itself
        assert report.chains[2].end_is_certain
        decisions = [body for record in kept(host) if isinstance(body := logs.opened(record).body, Decision)]
        assert sum(isinstance(item, PasskeyEvidence) for one in decisions for item in one.evidence) >= 2

    run(scenario)


def test_what_the_host_takes_out_of_it_is_missed():
    async def scenario():
        host = await started()
        _, _, receipts = await worked(host)
        whole = kept(host)
        for index, record in enumerate(whole):
            report = logs.audit(whole[:index] + whole[index + 1 :], trust=TRUST, receipts=receipts)
            last_of_all = (
                record.sequence == len(host.storage.log[record.chain]) - 1 and index == len(whole) - 1
            )
            assert report.good == (last_of_all and record.signed not in receipts)

    run(scenario)


def test_no_secret_of_a_user_is_in_the_log():
    async def scenario():
        host = await started()
        user, _ = await with_wallet(host)
        made = await user.door.call(a.BeginTotp(), a.TotpSecret, authorization=user.authorize(a.BeginTotp()))
        request = a.MakeDeviceCode()
        code = await user.door.call(request, a.DeviceCodeMade, authorization=user.authorize(request))
        everything = b"".join(record.signed.entry for record in kept(host))
        for secret in (
            made.secret,
            code.code.encode(),
            code.code.replace("-", "").encode(),
            user.session_key.public,
        ):
            assert secret not in everything
        assert CodeEvidence.__struct_fields__ == ("what", "accepted")
        assert TotpCode.__struct_fields__ == ("code",)

    run(scenario)
