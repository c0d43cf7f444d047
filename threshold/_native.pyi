"""Types of the native module. Every function and method here releases the interpreter lock while it computes.

Wrong Python types raise :class:`TypeError`; everything else that is refused raises :class:`ThresholdError` or
:class:`PayloadError` with a stable ``code``. Errors named below are codes.
"""

from typing import Never, final

from .errors import PayloadError as PayloadError
from .errors import ThresholdError as ThresholdError
from .payload import (
    EvmMessageSummary,
    EvmSignedTransaction,
    EvmTransactionSummary,
    EvmTypedDataSummary,
    FinalizedPsbt,
    PsbtSummary,
    SolanaSummary,
)

__all__ = [
    "DkgRound1",
    "DkgRound2",
    "DkgRound3",
    "EcdsaClientOt",
    "EcdsaClientSetup",
    "EcdsaEnclaveOt",
    "EcdsaEnclaveSetup",
    "EcdsaPending",
    "KeyShare",
    "Passcode",
    "PayloadError",
    "ReshareRound1",
    "ReshareRound2",
    "ReshareRound3",
    "SealingKey",
    "SecretKey",
    "SigningNonces",
    "ThresholdError",
    "bitcoin_address",
    "derive_public_key",
    "dkg_start",
    "ecdsa_begin",
    "ecdsa_respond",
    "ecdsa_setup_begin",
    "ecdsa_setup_respond",
    "evm_address",
    "evm_checksum_address",
    "evm_message_digest",
    "evm_signature_assemble",
    "evm_transaction_assemble",
    "evm_transaction_inspect",
    "evm_typed_data_inspect",
    "frost_begin",
    "frost_respond",
    "import_receive",
    "psbt_finalize",
    "psbt_inspect",
    "reshare_join",
    "reshare_start",
    "solana_address",
    "solana_assemble",
    "solana_inspect",
    "solana_text_inspect",
    "verify_signature",
]

class _Opaque:
    """What all handles refuse, with :class:`TypeError`."""

    def __eq__(self, other: object, /) -> Never: ...
    def __ne__(self, other: object, /) -> Never: ...
    def __hash__(self) -> Never: ...
    def __reduce__(self) -> Never: ...
    def __reduce_ex__(self, protocol: object, /) -> Never: ...
    def __getstate__(self) -> Never: ...
    def __copy__(self) -> Never: ...
    def __deepcopy__(self, memo: object, /) -> Never: ...

def dkg_start(
    suite: str, identifier: int, min_signers: int, max_signers: int, context: bytes
) -> tuple[DkgRound1, bytes]:
    """Start key generation.

    :param suite: name of the suite, see :class:`threshold.Suite`.
    :param identifier: own identifier, 1..=max_signers.
    :param min_signers: threshold t, 2..=max_signers.
    :param max_signers: number of participants n, 2..=64.
    :param context: 32 bytes that name this run, equal for all participants.
    :returns: the state, and message 1 to broadcast (length: ``docs/spec/threshold.md``).
    :raises ThresholdError: ``unknown_suite``, ``invalid_parameter``.
    """

@final
class DkgRound1(_Opaque):
    """State after the first step: the own secret polynomial. Used once."""

    def advance(self, messages1: dict[int, bytes]) -> tuple[DkgRound2, dict[int, bytes]]:
        """Take message 1 of every peer (not the own one).

        :returns: the next state, and message 2 for each peer (103 bytes, secret: a confidential channel).
        :raises ThresholdError: ``state_consumed``, ``missing_message``, ``unexpected_sender``, ``malformed_message``,
            ``wrong_kind``, ``wrong_suite``, ``wrong_sender``, ``wrong_parameters``, ``wrong_context``,
            ``wrong_commitment_count``, ``invalid_proof``.
        """

@final
class DkgRound2(_Opaque):
    """State after the second step. Used once."""

    def advance(self, messages2: dict[int, bytes]) -> tuple[DkgRound3, bytes]:
        """Take message 2 of every peer.

        :returns: the next state, and the own confirmation to broadcast (32 bytes; it names its sender, so that no
            two participants' confirmations are equal).
        :raises ThresholdError: ``state_consumed``, ``missing_message``, ``unexpected_sender``, ``malformed_message``,
            ``wrong_kind``, ``wrong_suite``, ``wrong_sender``, ``wrong_receiver``, ``transcript_mismatch``,
            ``chain_code_mismatch``, ``invalid_sub_share``, ``degenerate_key``.
        """

@final
class DkgRound3(_Opaque):
    """State after the third step: the share waits for the confirmations. Used once."""

    def confirm(self, confirmations: dict[int, bytes]) -> KeyShare:
        """Take the confirmation of every peer and release the share.

        :raises ThresholdError: ``state_consumed``, ``missing_message``, ``unexpected_sender``,
            ``confirmation_mismatch``.
        """
    @property
    def group_public_key(self) -> bytes:
        """The group key that the share will have; gone once the state is used."""

def reshare_start(
    shares: list[KeyShare],
    dealers: list[int],
    receivers: list[int],
    min_signers: int,
    max_signers: int,
    context: bytes,
) -> tuple[ReshareRound1, dict[int, bytes]]:
    """Start a resharing at a node that deals with old shares.

    :param shares: this node's, at least one, all of one group and epoch, each of one of the dealers.
    :param dealers: identifiers in the old group of exactly t members, ascending, equal at all nodes.
    :param receivers: identifiers in the new group that this node receives for, ascending; may be empty.
    :param min_signers: new threshold, 2..=max_signers.
    :param max_signers: new number of participants, 2..=64.
    :param context: 32 bytes that name this run, equal at all nodes.
    :returns: the state, and message 1 of each own dealer for every other node.
    :raises ThresholdError: ``invalid_parameter``, ``shares_mismatch``.
    """

def reshare_join(
    group: bytes, dealers: list[int], receivers: list[int], min_signers: int, max_signers: int, context: bytes
) -> ReshareRound1:
    """Start a resharing at a node without an old share.

    :param group: :attr:`KeyShare.group` of a member of the old group; the caller has authenticated it.
    :raises ThresholdError: ``invalid_parameter``, ``invalid_group``.
    """

@final
class ReshareRound1(_Opaque):
    """State after the first step: the own dealers' secret polynomials. Used once."""

    def advance(self, messages1: dict[int, bytes]) -> tuple[ReshareRound2, dict[tuple[int, int], bytes]]:
        """Take message 1 of every dealer elsewhere.

        :returns: the next state, and message 2 by (own dealer, receiver elsewhere): 71 bytes, secret.
        :raises ThresholdError: ``state_consumed``, ``missing_message``, ``unexpected_sender``, ``malformed_message``,
            ``wrong_kind``, ``wrong_suite``, ``wrong_sender``, ``wrong_parameters``, ``wrong_context``,
            ``wrong_commitment_count``, ``wrong_constant_term``.
        """

@final
class ReshareRound2(_Opaque):
    """State after the second step. Used once."""

    def advance(self, messages2: dict[tuple[int, int], bytes]) -> tuple[ReshareRound3, dict[int, bytes]]:
        """Take message 2 of every dealer elsewhere to every own receiver.

        :returns: the next state, and the confirmation of each own receiver for every other node (32 bytes).
        :raises ThresholdError: ``state_consumed``, ``missing_message``, ``unexpected_sender``, ``malformed_message``,
            ``wrong_kind``, ``wrong_suite``, ``wrong_sender``, ``wrong_receiver``, ``transcript_mismatch``,
            ``invalid_sub_share``, ``degenerate_key``.
        """

@final
class ReshareRound3(_Opaque):
    """State after the last step of a resharing or import: the new shares wait for the confirmations. Used once."""

    def confirm(self, confirmations: dict[int, bytes]) -> dict[int, KeyShare]:
        """Take the confirmation of every receiver elsewhere; returns the own receivers' shares.

        :raises ThresholdError: ``state_consumed``, ``missing_message``, ``unexpected_sender``,
            ``confirmation_mismatch`` (culprit: that receiver).
        """
    @property
    def suite(self) -> str: ...
    @property
    def epoch(self) -> int: ...
    @property
    def min_signers(self) -> int: ...
    @property
    def max_signers(self) -> int: ...
    @property
    def receivers(self) -> list[int]:
        """The members of the new group that this node receives for."""
    @property
    def group_public_key(self) -> bytes:
        """The group key, which has not changed. All properties are gone once the state is used."""

def import_receive(
    suite: str,
    receivers: list[int],
    min_signers: int,
    max_signers: int,
    context: bytes,
    message1: bytes,
    messages2: dict[int, bytes],
) -> tuple[ReshareRound3, dict[int, bytes]]:
    """Take a key that a trusted dealer dealt out: a new group at epoch 1.

    :param receivers: identifiers that this node receives for, ascending.
    :param context: 32 bytes that name this run, equal at all nodes.
    :param message1: the dealer's, for everybody: names the public key and the chain code.
    :param messages2: the dealer's to each of the receivers (71 bytes each, secret).
    :returns: the state, and the confirmation of each own receiver.
    :raises ThresholdError: ``unknown_suite``, ``invalid_parameter``, ``missing_message``, ``unexpected_sender``; without a
        culprit, since the dealer is no participant: ``malformed_message``, ``wrong_kind``, ``wrong_suite``,
        ``wrong_sender``, ``wrong_receiver``, ``wrong_parameters``, ``wrong_context``, ``wrong_commitment_count``,
        ``transcript_mismatch``, ``invalid_sub_share``, ``degenerate_key``.
    """

@final
class KeyShare(_Opaque):
    """A participant's long-lived share of one key."""

    @property
    def suite(self) -> str: ...
    @property
    def identifier(self) -> int: ...
    @property
    def min_signers(self) -> int: ...
    @property
    def max_signers(self) -> int: ...
    @property
    def epoch(self) -> int:
        """1 after key generation; one more with every change of the shares."""
    @property
    def group_public_key(self) -> bytes:
        """32 bytes for Ed25519; 33 (SEC 1 compressed) for secp256k1."""
    @property
    def verifying_shares(self) -> dict[int, bytes]:
        """Every participant's public share, encoded like the group key."""
    @property
    def chain_code(self) -> bytes:
        """32 bytes, for unhardened derivation."""
    @property
    def group(self) -> bytes:
        """The public data of the group, the same at all its members (``docs/spec/threshold.md``, "Group")."""
    def prove(self, context: bytes) -> bytes:
        """Prove that this share is held: a Schnorr signature under the own verifying share.

        :param context: 32 bytes that say what the proof is for. Must not repeat where a replay would matter.
        :returns: 64 bytes; 65 for ``ecdsa-secp256k1``.
        :raises ThresholdError: ``invalid_parameter``.
        """
    def verify_proof(self, identifier: int, context: bytes, proof: bytes) -> None:
        """Check the proof of another member of the same group at the same epoch.

        :raises ThresholdError: ``invalid_parameter``: no other member; ``invalid_proof`` (culprit: that member).
        """
    def derive(self, path: list[int]) -> KeyShare:
        """The share of the key at an unhardened BIP-32 path below this one's; suite ``frost-secp256k1-tr`` only.

        :raises ThresholdError: ``invalid_path``, ``wrong_suite``.
        """
    def encode(self) -> bytes:
        """The share in clear (``docs/spec/threshold.md`` §3). Not in the enclave's build."""
    @staticmethod
    def decode(share: bytes | bytearray | memoryview) -> KeyShare:
        """Read what :meth:`encode` wrote, and check the share against its own public data. Not in the enclave's build.

        :raises ThresholdError: ``record_malformed``, ``share_inconsistent``.
        """

@final
class SealingKey(_Opaque):
    """A 32-byte key that seals and opens records (``docs/spec/seal.md``)."""

    @staticmethod
    def from_data_key(key: bytes | bytearray | memoryview) -> SealingKey:
        """Copy a data key of 32 bytes; the caller wipes its own.

        :raises ThresholdError: ``invalid_parameter``: another length, or all zeros.
        """
    @staticmethod
    def from_passphrase(
        passphrase: bytes, salt: bytes, memory_kib: int, iterations: int, parallelism: int
    ) -> SealingKey:
        """Derive from a passphrase by Argon2id version 1.3 (RFC 9106).

        :param passphrase: 1..=1024 bytes.
        :param salt: 16 random bytes, stored beside what is sealed.
        :param memory_kib: 8 * parallelism ..= 1048576.
        :param iterations: 1..=16.
        :param parallelism: 1..=16 lanes.
        :raises ThresholdError: ``invalid_parameter``.
        """
    def seal_share(self, share: KeyShare, associated_data: bytes) -> bytes:
        """Seal a share (record length: ``docs/spec/seal.md``).

        :raises ThresholdError: ``invalid_parameter``: associated data above 65536 bytes.
        """
    def open_share(self, record: bytes, associated_data: bytes) -> KeyShare:
        """Open a sealed share and check it against its own public data.

        :raises ThresholdError: ``record_malformed``, ``record_not_authentic``, ``share_inconsistent``.
        """
    def seal_unconfirmed(self, state: DkgRound3, associated_data: bytes) -> bytes:
        """Seal a finished key generation whose confirmations are awaited, so that a crash loses nothing.

        The state stays usable. It holds no nonce, so that opening the record more than once is harmless.

        :raises ThresholdError: ``invalid_parameter``, ``state_consumed``.
        """
    def open_unconfirmed(self, record: bytes, associated_data: bytes) -> DkgRound3:
        """Open what :meth:`seal_unconfirmed` made. Records of other kinds do not open here.

        :raises ThresholdError: ``record_malformed``, ``record_not_authentic``, ``share_inconsistent``.
        """
    def seal_reshare(self, state: ReshareRound3, associated_data: bytes) -> bytes:
        """Seal a finished resharing or import whose confirmations are awaited, as :meth:`seal_unconfirmed` does.

        :raises ThresholdError: ``invalid_parameter``, ``state_consumed``.
        """
    def open_reshare(self, record: bytes, associated_data: bytes) -> ReshareRound3:
        """Open what :meth:`seal_reshare` made. Records of other kinds do not open here.

        :raises ThresholdError: ``record_malformed``, ``record_not_authentic``, ``share_inconsistent``.
        """
    def backup_key(self, context: bytes) -> bytes:
        """32 bytes that follow from this key and the context alone: one half of what opens a backup.

        :raises ThresholdError: ``invalid_parameter``: a context above 65536 bytes.
        """
    def seal_bytes(self, plaintext: bytes, associated_data: bytes) -> bytes:
        """Seal up to 1048576 bytes of any other kind; the record is 68 bytes longer.

        :raises ThresholdError: ``invalid_parameter``: too long.
        """
    def open_bytes(self, record: bytes, associated_data: bytes) -> bytes:
        """Open what :meth:`seal_bytes` made. A sealed share does not open here.

        :raises ThresholdError: ``record_malformed``, ``record_not_authentic``.
        """

@final
class SecretKey(_Opaque):
    """A whole private key, on the user's own device only. Not in the enclave's build; see :mod:`threshold.device`."""

    @staticmethod
    def from_bytes(suite: str, key: bytes | bytearray | memoryview) -> SecretKey:
        """From the scalar; the chain code is made from it.

        :param key: 32 bytes, big endian for secp256k1, little endian for Ed25519 (where it is no seed).
        :raises ThresholdError: ``unknown_suite``; ``invalid_secret_key``: another length, zero, or not below the group
            order.
        """
    @staticmethod
    def from_ed25519_seed(seed: bytes | bytearray | memoryview) -> SecretKey:
        """From a seed of 32 bytes (RFC 8032 §5.1.5).

        :raises ThresholdError: ``invalid_secret_key``.
        """
    @staticmethod
    def from_mnemonic(
        suite: str,
        phrase: bytes | bytearray | memoryview,
        passphrase: bytes | bytearray | memoryview,
        path: str,
    ) -> SecretKey:
        """From a BIP-39 phrase: BIP-32 for the secp256k1 suites, SLIP-10 for Ed25519. The chain code is the node's.

        :param phrase: 12, 15, 18, 21 or 24 lower-case English words between any white space.
        :param passphrase: UTF-8, at most 1024 bytes, often empty.
        :param path: such as ``m/44'/60'/0'/0/0``, at most 16 elements, a hardened one with ``'``, ``h`` or ``H``; for
            Ed25519 all are hardened.
        :raises ThresholdError: ``unknown_suite``, ``invalid_phrase``, ``phrase_checksum_mismatch``, ``invalid_path``,
            ``invalid_parameter``.
        """
    @staticmethod
    def from_wif(text: bytes | bytearray | memoryview) -> tuple[SecretKey, str]:
        """From Bitcoin's Wallet Import Format for a compressed public key: a Taproot internal key.

        :returns: the key, and ``mainnet`` or ``testnet``.
        :raises ThresholdError: ``invalid_secret_key``, ``key_checksum_mismatch``, ``unsupported_key``.
        """
    @staticmethod
    def from_solana_keypair(text: bytes | bytearray | memoryview) -> SecretKey:
        """From a Solana key pair: the JSON array of 64 numbers of its file, or the 64 bytes in base58.

        :raises ThresholdError: ``invalid_secret_key``; ``public_key_mismatch``: the last 32 bytes are not the public key
            of the first 32.
        """
    @staticmethod
    def combine(shares: list[KeyShare]) -> SecretKey:
        """Put at least t shares of one group and epoch together. The key has their chain code, and no seed.

        :raises ThresholdError: ``shares_mismatch``, ``wrong_signer_count``, ``invalid_parameter``: the same share twice;
            ``share_inconsistent``.
        """
    @property
    def suite(self) -> str: ...
    @property
    def public_key(self) -> bytes:
        """32 bytes for Ed25519; 33 (SEC 1 compressed) for secp256k1."""
    @property
    def chain_code(self) -> bytes:
        """32 bytes."""
    def deal(
        self, min_signers: int, max_signers: int, receivers: list[int], context: bytes
    ) -> tuple[ReshareRound3, dict[int, bytes], bytes, dict[int, bytes]]:
        """Deal the key out to a new group at epoch 1 (:func:`import_receive` takes what is sent).

        :param receivers: members of the group that this node receives for, ascending.
        :param context: 32 bytes that name this import, equal for all nodes.
        :returns: the own receivers' shares, waiting for the other confirmations; the confirmations of the own receivers;
            message 1 for every other node; and message 2 for each receiver elsewhere (secret: a confidential channel).
        :raises ThresholdError: ``invalid_parameter``.
        """
    def export(self, format: str) -> bytes:  # noqa: A002 - a word of the interface
        """The key as ASCII text; :data:`threshold.device.EXPORT_FORMATS` says what a suite has.

        :param format: ``hex`` (64 digits), ``wif:mainnet``, ``wif:testnet``, ``solana-expanded`` (scalar and prefix, 128
            digits), ``solana-keypair`` (JSON array of 64 numbers; only for a key that came from a seed).
        :raises ThresholdError: ``invalid_parameter``: no such format; ``export_unavailable``: not for this key.
        """

@final
class Passcode(_Opaque):
    """A passcode after Argon2id version 1.3 (RFC 9106), for both of its uses. Not in the enclave's build."""

    def __new__(
        cls,
        passcode: bytes | bytearray | memoryview,
        salt: bytes,
        memory_kib: int,
        iterations: int,
        parallelism: int,
    ) -> Passcode:
        """Bounds and errors are those of :meth:`SealingKey.from_passphrase`."""
    def proof(self, context: bytes) -> bytes:
        """What shows the enclave that the passcode is known, 32 bytes. It opens nothing.

        :param context: at most 1024 bytes; what the proof is for.
        :raises ThresholdError: ``invalid_parameter``.
        """
    def sealing_key(self, backup_key: bytes | bytearray | memoryview, context: bytes) -> SealingKey:
        """The key of a backup, which needs both the passcode and the enclave's backup key.

        :param backup_key: 32 bytes, not all zeros.
        :param context: at most 1024 bytes; what the backup is of.
        :raises ThresholdError: ``invalid_parameter``.
        """

def frost_begin(share: KeyShare, count: int) -> tuple[SigningNonces, list[bytes]]:
    """Draw nonces as initiator, one pair per message.

    :param count: 1..=256 messages.
    :returns: the nonces, and their commitments (64 bytes each for Ed25519, 66 for secp256k1).
    :raises ThresholdError: ``invalid_parameter``, ``suite_cannot_sign``.
    """

def frost_respond(
    share: KeyShare,
    messages: list[bytes],
    peers: dict[int, list[bytes]],
    tweaks: list[bytes | None] | None = None,
) -> tuple[list[bytes], list[bytes]]:
    """Answer an initiator: draw fresh nonces, sign every message once with them, and forget them.

    :param messages: 1..=256 messages; at most 65536 bytes each for Ed25519, exactly 32 for secp256k1.
    :param peers: the commitments of all other signers, one per message; with the own share at least t signers.
    :param tweaks: one per message, or ``None`` for none at all. secp256k1 only: ``None`` signs with the group key,
        ``b""`` with the BIP-341 output key of an empty script tree, 32 bytes with that of this Merkle root.
    :returns: the own commitments, and the own signature shares (32 bytes each).
    :raises ThresholdError: ``suite_cannot_sign``, ``invalid_parameter``, ``count_mismatch``, ``message_length``,
        ``invalid_tweak``, ``wrong_signer_count``, ``unexpected_sender``, ``invalid_commitment``.
    """

@final
class SigningNonces(_Opaque):
    """The initiator's nonces. Used once, whatever becomes of the call."""

    def __len__(self) -> int: ...
    def sign(
        self,
        share: KeyShare,
        messages: list[bytes],
        peers: dict[int, list[bytes]],
        tweaks: list[bytes | None] | None = None,
    ) -> list[bytes]:
        """Second round of ordinary FROST: the own signature shares, given all other signers' commitments.

        :raises ThresholdError: as :func:`frost_respond`, ``state_consumed``, ``wrong_share``.
        """
    def finish(
        self,
        share: KeyShare,
        messages: list[bytes],
        responses: dict[int, tuple[list[bytes], list[bytes]]],
        tweaks: list[bytes | None] | None = None,
    ) -> list[bytes]:
        """Compute the own shares, aggregate with the responses (commitments, signature shares), and verify.

        :returns: one signature of 64 bytes per message, verified.
        :raises ThresholdError: as :meth:`sign`, ``malformed_message``, ``invalid_signature_share`` (culprit: the
            sender).
        """

def ecdsa_setup_begin() -> tuple[EcdsaClientSetup, bytes]:
    """Client: offer the 128 base transfers of a session.

    :returns: the state, and the message for the enclave (4098 bytes).
    """

@final
class EcdsaClientSetup(_Opaque):
    """The client's base transfers before the enclave's answer. Used once, whatever becomes of the call."""

    def finish(self, answer: bytes, session_context: bytes) -> EcdsaClientOt:
        """Take the enclave's answer and bind the established session.

        :param answer: 8194 bytes.
        :param session_context: 32 bytes that name the session, such as the hash of the channel's transcript.
        :raises ThresholdError: ``state_consumed``, ``invalid_parameter``, ``malformed_message``, ``wrong_kind``.
        """

def ecdsa_setup_respond(message: bytes) -> tuple[EcdsaEnclaveSetup, bytes]:
    """Enclave: answer the client's base transfers.

    :param message: 4098 bytes.
    :returns: the state, and the answer (8194 bytes).
    :raises ThresholdError: ``malformed_message``, ``wrong_kind``.
    """

@final
class EcdsaEnclaveSetup(_Opaque):
    """The enclave's base transfers before the session's context is known. Used once."""

    def bind(self, session_context: bytes) -> EcdsaEnclaveOt:
        """Bind the established session.

        :param session_context: the same 32 bytes as the client's.
        :raises ThresholdError: ``state_consumed``, ``invalid_parameter``.
        """

@final
class EcdsaClientOt(_Opaque):
    """The client's side of a session: the transfers' secrets and the counter of extensions. Thread-safe."""

    @property
    def alive(self) -> bool:
        """Whether it can still sign."""
    def burn(self) -> None:
        """Forget the secrets; every signature under way fails."""

@final
class EcdsaEnclaveOt(_Opaque):
    """The enclave's side of a session: the transfers' secrets and the extensions used. Thread-safe."""

    @property
    def alive(self) -> bool:
        """Whether it can still sign."""
    def burn(self) -> None:
        """Forget the secrets; every answer under way fails."""

def ecdsa_begin(
    share: KeyShare, ot: EcdsaClientOt, digest: bytes, path: list[int], peer_identifier: int
) -> tuple[EcdsaPending, bytes]:
    """Client: start a signature.

    :param share: of suite ``ecdsa-secp256k1`` with threshold 2.
    :param digest: 32 bytes.
    :param path: unhardened BIP-32 path below the wallet's key, at most 16 elements; empty for the wallet's own key.
    :param peer_identifier: the enclave's identifier.
    :returns: the state, and message 1 (15515 bytes).
    :raises ThresholdError: ``invalid_parameter``, ``wrong_suite``, ``wrong_signer_count``, ``unexpected_sender``,
        ``invalid_path``, ``session_burned``.
    """

def ecdsa_respond(
    share: KeyShare,
    ot: EcdsaEnclaveOt,
    message1: bytes,
    digest: bytes,
    path: list[int],
    peer_identifier: int,
) -> bytes:
    """Enclave: answer message 1.

    :param peer_identifier: the client's identifier.
    :returns: message 2 (66851 bytes).
    :raises ThresholdError: as :func:`ecdsa_begin`; ``malformed_message``, ``wrong_kind``, ``wrong_context``,
        ``index_reused`` (culprit: the client, nothing was computed); ``ot_check_failed`` (culprit: the client; the
        session is burnt).
    """

@final
class EcdsaPending(_Opaque):
    """A signature that awaits message 2. Used once, whatever becomes of the call."""

    def finish(self, message2: bytes) -> tuple[bytes, int, bytes]:
        """Take message 2 and finish the signature.

        :returns: r ‖ s (64 bytes, s at most q/2); the recovery id, 0..=3; the key that signed (33 bytes). The signature
            verifies and the recovery id gives the key back.
        :raises ThresholdError: ``state_consumed``, ``session_burned``; with the enclave as culprit
            ``malformed_message``, ``wrong_kind``, ``transcript_mismatch``, and, the session being burnt,
            ``multiplication_check_failed``, ``invalid_proof``, ``signature_invalid``.
        """

def derive_public_key(group_public_key: bytes, chain_code: bytes, path: list[int]) -> bytes:
    """The public key at an unhardened BIP-32 path below a group key of either secp256k1 suite.

    :param group_public_key: 33 bytes.
    :param chain_code: 32 bytes.
    :param path: at most 16 elements below 2^31.
    :returns: 33 bytes.
    :raises ThresholdError: ``invalid_parameter``, ``invalid_public_key``, ``invalid_path``.
    """

def verify_signature(
    suite: str, public_key: bytes, message: bytes, signature: bytes, tweak: bytes | None = None
) -> None:
    """Verify a signature: RFC 8032 (cofactorless; canonical prime-order points only) or BIP-340.

    :param public_key: 32 bytes for Ed25519; 33, or 32 (x only), for secp256k1.
    :param message: at most 65536 bytes.
    :param tweak: as for :func:`frost_respond`: verifies under the tweaked key.
    :raises ThresholdError: ``signature_invalid``, ``invalid_public_key``, ``message_length``, ``invalid_tweak``,
        ``suite_cannot_sign``, ``unknown_suite``.
    """

def solana_inspect(message: bytes) -> SolanaSummary:
    """Parse a legacy or v0 message that fits a transaction of 1232 bytes with its signatures.

    :raises PayloadError: ``solana_too_large``, ``solana_malformed``, ``solana_version_unsupported``,
        ``solana_invalid``.
    """

def solana_text_inspect(message: bytes) -> str:
    """Read a text that a Solana wallet signs as it is, as a wallet adapter's ``signMessage`` does.

    :param message: UTF-8, 1 to 65515 bytes, without control characters.
    :raises PayloadError: ``solana_text_too_large``, ``solana_text_invalid``, ``solana_text_is_message``.
    """

def solana_assemble(message: bytes, signatures: dict[bytes, bytes]) -> bytes:
    """The wire transaction.

    :param signatures: 32-byte public key to 64-byte signature, of exactly the required signers; all are verified.
    :raises PayloadError: as :func:`solana_inspect`, ``solana_missing_signature``, ``solana_unexpected_signature``,
        ``solana_signature_invalid``.
    """

def solana_address(public_key: bytes) -> str:
    """Base58 of a public key of 32 bytes.

    :raises PayloadError: ``invalid_public_key``.
    """

def bitcoin_address(internal_key: bytes, network: str) -> str:
    """The BIP-86 (P2TR, bech32m) address of an internal key of 32 or 33 bytes.

    :param network: ``mainnet``, ``testnet``, ``signet`` or ``regtest``.
    :raises PayloadError: ``invalid_public_key``, ``unknown_network``.
    """

def psbt_inspect(psbt: bytes, group_public_key: bytes, network: str) -> PsbtSummary:
    """Parse a PSBT version 0 (BIP-174, BIP-371) of at most 524288 bytes, 256 inputs and 512 outputs.

    :param group_public_key: 33 bytes (or 32): the wallet's internal key.
    :raises PayloadError: ``psbt_too_large``, ``psbt_malformed``, ``psbt_version_unsupported``,
        ``psbt_not_canonical``, ``psbt_duplicate_input``, ``psbt_missing_utxo``, ``psbt_utxo_mismatch``,
        ``psbt_amount``, ``psbt_overspend``, ``psbt_sighash_type``, ``psbt_field_conflict``,
        ``psbt_no_input_of_wallet``, ``psbt_already_signed``, ``invalid_public_key``, ``unknown_network``.
    """

def psbt_finalize(psbt: bytes, signatures: dict[int, bytes]) -> FinalizedPsbt:
    """Verify signatures (64 bytes, by input index) against the outputs they spend, and make these inputs final.

    :raises PayloadError: as for parsing, ``psbt_unexpected_signature``, ``psbt_already_signed``,
        ``psbt_sighash_type``, ``psbt_signature_invalid``.
    """

def evm_address(public_key: bytes) -> str:
    """The EIP-55 address of a public key of 33 bytes.

    :raises PayloadError: ``invalid_public_key``.
    """

def evm_checksum_address(address: bytes) -> str:
    """The EIP-55 form of an address of 20 bytes.

    :raises PayloadError: ``evm_invalid``.
    """

def evm_transaction_inspect(unsigned: bytes) -> EvmTransactionSummary:
    """Parse an unsigned transaction of at most 131072 bytes.

    :param unsigned: what is hashed for the signature: nine RLP fields for a legacy transaction (EIP-155), the type byte
        and RLP for types 1 (EIP-2930), 2 (EIP-1559), 3 (EIP-4844, without sidecar) and 4 (EIP-7702).
    :raises PayloadError: ``evm_too_large``, ``evm_malformed``, ``evm_type_unsupported``, ``evm_no_replay_protection``,
        ``evm_already_signed``, ``evm_invalid``.
    """

def evm_transaction_assemble(
    unsigned: bytes, signature: bytes, recovery_id: int, public_key: bytes
) -> EvmSignedTransaction:
    """The signed transaction.

    :param signature: r and s, 32 bytes each; s in the lower half (EIP-2).
    :param recovery_id: 0 or 1.
    :param public_key: 33 bytes; the signature must recover to it.
    :raises PayloadError: as :func:`evm_transaction_inspect`, ``evm_signature_invalid``, ``invalid_public_key``.
    """

def evm_message_digest(message: bytes, validator: bytes | None = None) -> EvmMessageSummary:
    """Read a message of at most 131072 bytes (EIP-191): version ``E`` (``personal_sign``), or 0 with a validator.

    :param validator: address of the contract that the message is for, 20 bytes.
    :raises PayloadError: ``evm_too_large``, ``evm_invalid``.
    """

def evm_signature_assemble(digest: bytes, signature: bytes, recovery_id: int, public_key: bytes) -> bytes:
    """The 65 bytes of a signature of a message or of typed data: r, s, and 27 or 28.

    :param digest: 32 bytes, from :func:`evm_message_digest` or :func:`evm_typed_data_inspect`.
    :param signature: as for :func:`evm_transaction_assemble`.
    :raises PayloadError: ``evm_signature_invalid``, ``invalid_public_key``.
    """

def evm_typed_data_inspect(typed_data: bytes) -> EvmTypedDataSummary:
    """Parse typed data (EIP-712) as ``eth_signTypedData_v4`` takes it: a JSON object of exactly ``types``,
    ``primaryType``, ``domain`` and ``message``; at most 131072 bytes, 128 types, 48 levels.

    :raises PayloadError: ``typed_data_too_large``, ``typed_data_malformed``, ``typed_data_type``,
        ``typed_data_missing_field``, ``typed_data_unknown_field``, ``typed_data_value``, ``typed_data_domain``.
    """
