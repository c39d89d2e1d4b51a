"""Verification: the playbook's 'Verification Procedures' as checks, each of which passes, fails or is unknown.

It compares what is with what should be (`Expectation`), and what should be with what was normal (`measure_baseline`).
It reads, apart from synthetic webhooks that it removes again. It repairs nothing.
"""

from toolkit.verify.baseline import measure_baseline
from toolkit.verify.checklist import verification
from toolkit.verify.expectation import Baseline, Expectation, SteadyState
from toolkit.verify.fingerprints import SchemaSignature, TableFingerprint, difference, fingerprint, schema_signature
from toolkit.verify.steady import steady_state
from toolkit.verify.verdict import Verification, verify

__all__ = [
    "Baseline",
    "Expectation",
    "SchemaSignature",
    "SteadyState",
    "TableFingerprint",
    "Verification",
    "difference",
    "fingerprint",
    "measure_baseline",
    "schema_signature",
    "steady_state",
    "verification",
    "verify",
]
