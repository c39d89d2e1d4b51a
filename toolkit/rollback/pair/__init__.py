"""The pair must fit: whether the deployment that will run can work on the schema that will be there.

`evidence` collects what is known of a deployment, `checking` tries it on a copy, `choosing` makes a decision of the
verdicts. Nothing here acts on the target.
"""

from toolkit.rollback.pair.checking import PairResult, check_pair
from toolkit.rollback.pair.choosing import Candidate, Pairing, choose_pair
from toolkit.rollback.pair.evidence import Evidence, gather, keep_evidence, role_of, schema_at
from toolkit.rollback.pair.findings import PairFinding, Verdict
from toolkit.rollback.pair.queries import keep_queries

__all__ = [
    "Candidate",
    "Evidence",
    "PairFinding",
    "PairResult",
    "Pairing",
    "Verdict",
    "check_pair",
    "choose_pair",
    "gather",
    "keep_evidence",
    "keep_queries",
    "role_of",
    "schema_at",
]
