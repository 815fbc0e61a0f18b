"""The solved examples of an in-context model, as a part of what decides its numbers.

They are read from a dataset of their own. Were they not in a cell's key, a run whose examples were
corrected would keep the numbers of the old ones.
"""

from dataclasses import replace

from harness.data_access import DataAccess
from harness.errors import BenchError
from harness.identity import key_of
from harness.plan import CellPlan
from harness.registry import IN_CONTEXT
from harness.samples import Dataset
from harness.tasks.supply import FIRST, bank_evaluation

Banks = dict[str, str]


def with_bank(plan: CellPlan, data: DataAccess, dataset: Dataset | None, known: Banks) -> CellPlan:
    """The plan with the fingerprint of its examples; of a model that has none, the plan itself.

    A bank that cannot be had here leaves it as it is: the cell will say why it is skipped. `known`
    keeps what was found, since many rows share one bank.
    """
    if dataset is None or plan.inner.entry.load != IN_CONTEXT[0]:
        return plan
    wanted = plan.inner.reference.options.get("demonstrations") or {}
    evaluation = bank_evaluation(wanted, phantom=dataset.phantom)
    limit = wanted.get("limit", FIRST)
    name = f"{evaluation.model_dump_json()} {limit} {dataset.phantom}"
    if name not in known:
        try:
            bank = data.other(evaluation, limit, phantom=dataset.phantom)
        except BenchError:
            known[name] = ""
        else:
            known[name] = key_of({"fingerprint": bank.fingerprint(), "content": bank.content})
    return replace(plan, bank=known[name])
