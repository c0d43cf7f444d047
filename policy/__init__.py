"""Who may sign what: a pure decision over an action, what its payload does, rules, and what was used before.

A leaf: enclave and client run the same code, and a policy can be checked offline. Format and semantics: ``docs/spec/policy.md``.
"""

from .action import Action
from .changes import ChangeRefusedError, check_change_by_signer
from .decisions import Allow, Decision, Deny
from .errors import PolicyError
from .evaluation import decide
from .inspected import summary_of
from .judgements import Finding, LayerVerdict, RuleVerdict
from .reading import parse, parse_layer, read_layer
from .rules import Approvals, Layer, Policy, Rule
from .summary import (
    BitcoinOutput,
    BitcoinTransaction,
    EvmMessage,
    EvmTransaction,
    EvmTypedData,
    RawDigest,
    SolanaInstruction,
    SolanaText,
    SolanaTransaction,
    Summary,
)
from .usage import Charge, Usage
from .writing import layer_bytes, layer_hash, policy_bytes, policy_hash

__all__ = [
    "Action",
    "Allow",
    "Approvals",
    "BitcoinOutput",
    "BitcoinTransaction",
    "ChangeRefusedError",
    "Charge",
    "Decision",
    "Deny",
    "EvmMessage",
    "EvmTransaction",
    "EvmTypedData",
    "Finding",
    "Layer",
    "LayerVerdict",
    "Policy",
    "PolicyError",
    "RawDigest",
    "Rule",
    "RuleVerdict",
    "SolanaInstruction",
    "SolanaText",
    "SolanaTransaction",
    "Summary",
    "Usage",
    "check_change_by_signer",
    "decide",
    "layer_bytes",
    "layer_hash",
    "parse",
    "parse_layer",
    "policy_bytes",
    "policy_hash",
    "read_layer",
    "summary_of",
]
