"""The ledger of claims: what the papers state, and what the records say about it.

``book/claims.yaml`` names each statement, the rule that judges it and the arguments of that rule.
Rules are functions of the records, of the papers' printed numbers and of ``adlib.theory``; nobody
types a verdict. A new statement is a row of the ledger; only a new kind of question is code.

==================  =========================================================  ===============
rule                question                                                   module
==================  =========================================================  ===============
``gain``            is A better than B, paired over categories and seeds?      ``gains``
``equal``           do A and B agree within the tolerance, paired?             ``gains``
``attribution``     does the named cause make up most of the gain?             ``attribution``
``reaches``         with how many dimensions does A reach B?                   ``curves``
``plateau``         does the curve rise and then stay?                         ``curves``
``cells``           are the printed numbers reproduced?                        ``cells``
``single_run``      are the printed differences above the spread over seeds?   ``cells``
``speedup``         is a change as much faster as printed, and is the whole?   ``measured``
``table_order``     does the paper's own table show A above B everywhere?      ``printed``
``table_mean``      is the number in the text the mean of the table's column?  ``printed``
``model_size``      does memory shrink by the printed factor?                  ``measured``
``stage_widths``    do stages of the network add up to the printed width?      ``derived``
``theory``          does the argument hold?                                    ``derived``
==================  =========================================================  ===============
"""

from __future__ import annotations

from adlib.claims.evidence import Evidence
from adlib.claims.ledger import Claim, Ledger, Result, judge, read
from adlib.claims.verdict import Effect, Outcome, Verdict

__all__ = ["Claim", "Effect", "Evidence", "Ledger", "Outcome", "Result", "Verdict", "judge", "read"]
