"""The ledger of claims: what the papers state, and what the records say about it.

``book/claims.yaml`` names each statement, the rule that judges it and the arguments of that rule.
Rules are functions of the records, of the papers' printed numbers and of ``adlib.theory``; nobody
types a verdict. A new statement is a row of the ledger; only a new kind of question is code.

====================  ========================================================  ====================
rule                  question                                                  module
====================  ========================================================  ====================
``gain``              Is A better than B, paired over categories and seeds?     ``gains``
``equal``             Do A and B agree within the tolerance, paired?            ``gains``
``above``             Is A above B, where one run a side is all there is?       ``amounts``
``keeps``             Does the cheap one lose at most the tolerance, paired?    ``choices``
``best_of``           Is one setting the best of a list?                        ``choices``
``dominates``         Is A ahead of B at each of some values?                   ``choices``
``somewhere``         Is A ahead of B at one of some values?                    ``choices``
``attribution``       Does the named cause make up most of the gain?            ``attribution``
``reaches``           With how many dimensions does A reach B?                  ``curves``
``plateau``           Does the curve rise and then stay?                        ``curves``
``bound``             Does an amount keep the stated bound?                     ``amounts``
``cheaper``           Does A need less time or memory than B, by the records?   ``amounts``
``cells``             Are the printed numbers reproduced?                       ``cells``
``table_values``      Are printed means and sums over a data set reached?       ``values``
``solved``            Is the stated share of all categories solved?             ``values``
``single_run``        Are the printed differences above the spread over seeds?  ``cells``
``speedup``           Is a change as much faster as printed, and is the whole?  ``measured``
``model_size``        Does memory shrink by the printed factor?                 ``measured``
``faster``            Is an image scored faster, the network included?          ``times``
``table_order``       Does the paper's own table show A above B everywhere?     ``printed``
``table_mean``        Is the text's number the mean of the table's column?      ``printed``
``error_reduction``   Is the error reduced by the stated percentage?            ``consistency``
``error_rows``        Is each printed error 100 minus the score?                ``consistency``
``lead``              Is a lead over quoted rivals kept over those run again?   ``consistency``
``stage_widths``      Do stages of the network add up to the printed width?     ``derived``
``theory``            Does the JL report's argument hold?                       ``derived``
``patchcore_theory``  Does PatchCore's argument hold?                           ``patchcore``
``image_counts``      Are there as many images as the paper counts?             ``patchcore``
``across``            Is A above B or a value, paired over categories?          ``across``
``near``              Are A and B alike in each category?                       ``across``
``best_column``       Is one metric of a run the best of several?               ``across``
``harder``            Is one data set harder than another?                      ``across``
``wins``              Is a run the best of several often enough?                ``latent_diffusion``
``alignments``        What could a damaged row of a table have won?             ``latent_diffusion``
``table_best``        Is a method the best of its printed table?                ``latent_diffusion``
``class_ceiling``     Do the pairs make a classifier compare classes?           ``latent_diffusion``
``pair_study``        Do other pairs train a better pair classifier?            ``studies``
``class_study``       What do labels from outside say about it?                 ``studies``
``diffusion_theory``  Do the latent-diffusion paper's equations hold?           ``diffusion_theory``
``not_at_hand``       What would begin to decide it, and why is it not here?    ``amounts``
====================  ========================================================  ====================
"""

from __future__ import annotations

from adlib.claims.evidence import Evidence
from adlib.claims.ledger import Claim, Ledger, Result, judge, read
from adlib.claims.verdict import Effect, Outcome, Verdict

__all__ = ["Claim", "Effect", "Evidence", "Ledger", "Outcome", "Result", "Verdict", "judge", "read"]
