"""Makes what serves an environment, once its data key is there."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from .accounts.directory import Directory
from .accounts.entry import Entry
from .accounts.notices import Notices
from .accounts.ownership import Wallets
from .accounts.second_factors import SecondFactors
from .accounts.service import Accounts
from .authn.logins import Logins
from .authorization.approvals import Approvals
from .authorization.delegates import Delegates
from .authorization.entering import Doorway
from .authorization.gate import Gate
from .authorization.journal import Journal
from .authorization.owners import Owners
from .authorization.replies import Replies
from .authorization.rulebook import Rulebook
from .authorization.usage import Ledgers
from .backups import Backups
from .delegation.book import Book
from .delegation.ending import Ending
from .delegation.events import Outbox
from .delegation.login import DelegateEntry
from .delegation.service import Delegations
from .delegation.settings import Settings
from .lifecycle import Lifecycle
from .realm import Realm, Rooms
from .records import Records
from .statuses import Statuses
from .vault import Vault

if TYPE_CHECKING:
    from threshold import SealingKey

    from .authn.clock import Clock
    from .authn.jwks_fetching import Dial
    from .burns import Burns
    from .counters import Counters
    from .manifest import Environment
    from .receipts import Log
    from .sessions import Sessions
    from .storage import Storage


@dataclass(frozen=True, slots=True)
class Realms:
    """What all environments share.

    :ivar dial: the way to issuers whose keys are fetched.
    """

    storage: Storage
    clock: Clock
    log: Log
    sessions: Sessions
    burns: Burns
    counters: Counters
    dial: Dial

    def make(self, environment: Environment, sealing_key: SealingKey) -> Realm:
        """Connect the rooms of one environment.

        :raises CosignerError: ``manifest_invalid``: an issuer's keys or URL are not acceptable.
        """
        records = Records(
            environment=environment.id,
            key_arn=environment.kms_key_arn,
            sealing_key=sealing_key,
            storage=self.storage,
        )
        vault = Vault(
            environment=environment.id,
            key_arn=environment.kms_key_arn,
            sealing_key=sealing_key,
            storage=self.storage,
        )
        directory = Directory(records, Notices(environment, self.clock).of)
        wallets = Wallets(records)
        backups = Backups(
            environment,
            records=records,
            storage=self.storage,
            sealing_key=sealing_key,
            clock=self.clock,
        )
        statuses = Statuses(environment.lifecycle, vault=vault, wallets=wallets, backups=backups)
        owners = Owners(vault, wallets)
        settings, book = Settings(environment, records), Book(records)
        delegates = Delegates(settings, book, self.clock)
        rulebook, journal = Rulebook(environment, records), Journal(self.log, self.counters)
        issuers = Logins(environment.issuers, self.dial)
        end_sessions = partial(self.sessions.end, environment.id)
        entry = Entry(
            environment,
            directory=directory,
            issuers=issuers,
            clock=self.clock,
            end_sessions=end_sessions,
        )
        accounts = Accounts(
            environment,
            directory=directory,
            wallets=wallets,
            issuers=issuers,
            clock=self.clock,
            end_sessions=end_sessions,
        )
        gate = Gate(
            environment,
            directory=directory,
            owners=owners,
            delegates=delegates,
            backups=backups,
            rulebook=rulebook,
            ledgers=Ledgers(records),
            approvals=Approvals(environment, directory, records, self.clock),
            second_factors=SecondFactors(directory),
            journal=journal,
            clock=self.clock,
            burns=self.burns,
        )
        doorway = Doorway(
            entry,
            sessions=self.sessions,
            journal=journal,
            clock=self.clock,
            counters=self.counters,
        )
        outbox = Outbox(environment.id)
        ending = Ending(
            settings=settings,
            book=book,
            delegates=delegates,
            outbox=outbox,
            vault=vault,
            clock=self.clock,
            counters=self.counters,
            end_sessions=end_sessions,
        )
        delegations = Delegations(
            environment.id,
            settings=settings,
            book=book,
            ending=ending,
            outbox=outbox,
            vault=vault,
            backups=backups,
            statuses=statuses,
            clock=self.clock,
            counters=self.counters,
            require_standing=gate.require_standing,
        )
        lifecycle = Lifecycle(
            environment.id,
            vault=vault,
            wallets=wallets,
            backups=backups,
            statuses=statuses,
            ending=ending,
            require_standing=gate.require_standing,
            counters=self.counters,
        )
        delegate_entry = DelegateEntry(
            settings,
            book,
            delegates,
            owners,
            sessions=self.sessions,
            journal=journal,
            clock=self.clock,
            counters=self.counters,
        )
        rooms = Rooms(
            vault=vault,
            gate=gate,
            doorway=doorway,
            accounts=accounts,
            lifecycle=lifecycle,
            delegations=delegations,
            delegate_entry=delegate_entry,
            statuses=statuses,
            rulebook=rulebook,
            replies=Replies(),
            journal=journal,
            log=self.log,
        )
        return Realm(rooms, self.sessions, self.burns, self.counters)
