"""The dataset an evaluation asks for: the user's own, its phantom twin, or why it is skipped."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from harness.box_tables import BoxTable, build_box_table, read_box_table
from harness.cache_root import cache_root
from harness.datasets.captioned import load_captioned
from harness.datasets.table import DatasetSpec, dataset_spec, load_dataset
from harness.errors import BenchError, NothingToAsk, WeightsAbsent
from harness.readable import content_of, keep_readable
from harness.samples import Dataset, PhraseBoxes
from harness.suite_schema import Evaluation

Report = Callable[[str, int, int], None]  # what, done, of


@dataclass(frozen=True)
class Loaded:
    """A dataset ready to be asked about, or the reason why it is not there.

    `damaged`: it is there and cannot be read, which is a failure and no skip.
    """

    dataset: Dataset | None
    reason: str = ""
    damaged: bool = False
    roots: Mapping[str, Path] | None = None


@dataclass(frozen=True)
class DataAccess:
    """Where data come from in this run; `limit` is the command line's ``--limit``."""

    roots: Mapping[str, Path]
    limit: int | None = None
    report: Report | None = None

    def load(self, evaluation: Evaluation) -> Loaded:
        """The evaluation's dataset without its unreadable images.

        Trees that are all unset mean the phantom twin, rendered into the cache on first use; some
        set and one missing, no twin to stand in, or a folder that holds nothing for the task (a
        manifest without phrases) mean a skip that says what is missing.
        """
        spec = dataset_spec(evaluation.dataset)
        roots: Mapping[str, Path] = self.roots
        phantom = spec.is_phantom(roots)
        truth = None
        if phantom:
            roots, truth = self._render(spec, evaluation)
        elif reason := spec.missing(roots):
            return Loaded(None, reason)

        def samples_of(task: str) -> Dataset:
            return load_dataset(
                evaluation.dataset,
                task=task,
                split=evaluation.split,
                cohort=evaluation.cohort or None,
                roots=roots,
                limit=self.limit,
                phantom=phantom,
                truth=truth,
            )

        try:
            if evaluation.task == "captioning":
                # Real data have no truth to score against, so their boxes need not be read.
                dataset = load_captioned(samples_of, spec.tasks if phantom else spec.tasks[:1])
            else:
                dataset = samples_of(evaluation.task)
        except NothingToAsk as reason:
            return Loaded(None, str(reason))
        dataset = keep_readable(dataset, self._counter("reading images"))
        if not phantom:
            dataset = replace(dataset, content=content_of(dataset))
        return Loaded(dataset, roots=roots)

    def is_rendered(self, evaluation: Evaluation) -> bool:
        """Whether `load` would find all its phantoms; only asked where a twin stands in."""
        from harness.rendered import is_rendered

        name = _tree_of(dataset_spec(evaluation.dataset), evaluation)
        return is_rendered(name, evaluation.split, cache_root() / "phantom", self.limit)

    def _render(
        self, spec: DatasetSpec, evaluation: Evaluation
    ) -> tuple[Mapping[str, Path], Path | None]:
        from harness.phantom.cache import ensure_phantom

        roots = dict(
            ensure_phantom(
                _tree_of(spec, evaluation),
                evaluation.split,
                cache_root() / "phantom",
                limit=self.limit,
                progress=self._counter("rendering phantoms"),
            )
        )
        return roots, roots.pop("truth", None)

    def beside(self, name: str, *, phantom: bool) -> "DataAccess":
        """The access to a second dataset: twins beside phantoms, real data beside real data.

        Raises:
            WeightsAbsent: real data are asked about, and of the second there is only the twin.
        """
        spec = dataset_spec(name)
        if phantom and spec.phantom:
            own = (*spec.trees, *spec.images)
            return replace(self, roots={n: path for n, path in self.roots.items() if n not in own})
        if not phantom and spec.is_phantom(self.roots):
            raise WeightsAbsent(f"{spec.missing(self.roots)} Its twin is for phantoms only.")
        return self

    def other(self, evaluation: Evaluation, limit: int | None, *, phantom: bool) -> Dataset:
        """Another dataset for a model that looks things up there, up to a limit of its own.

        `phantom`: whether phantoms are asked about; what is looked up is of the same kind.

        Raises:
            WeightsAbsent: it cannot be had here, so the model's cells are skipped.
        """
        access = self.beside(evaluation.dataset, phantom=phantom)
        loaded = replace(access, limit=limit).load(evaluation)
        if loaded.dataset is None:
            raise WeightsAbsent(f"its examples are not here: {loaded.reason}")
        return loaded.dataset

    def calibration(self, name: str, *, phantom: bool) -> Dataset | None:
        """The validation split of that grounding dataset, None where it cannot be had here.

        A threshold for real data never comes from phantoms, nor the other way round.
        """
        if not name:
            return None
        wanted = Evaluation(task="grounding", dataset=name, split="validation")
        try:
            return self.beside(name, phantom=phantom).load(wanted).dataset
        except BenchError:
            return None

    def _counter(self, what: str) -> Callable[[int, int], None] | None:
        report = self.report
        return (lambda done, total: report(what, done, total)) if report else None

    def box_table(self, evaluation: Evaluation, dataset: Dataset) -> BoxTable | None:
        """Mean boxes of the training split; None where there is none, or it is asked about itself.

        A phantom's table ships with its generator; on a user's own data it is computed from the
        training split's annotations, without opening an image. None as well if a patient who is
        asked about is in it: his own boxes would be part of the answer.
        """
        if dataset.phantom:
            if evaluation.split in ("train", "all"):
                return None
            from harness.phantom.cache import training_table

            return read_box_table(training_table(evaluation.dataset))
        spec = dataset_spec(evaluation.dataset)
        if spec.splits and "train" not in spec.splits:
            return None
        try:
            training = load_dataset(
                evaluation.dataset,
                task="grounding",
                split="train",
                cohort=evaluation.cohort or None,
                roots=self.roots,
            )
        except BenchError:
            return None
        phrases = [s for s in training.samples if isinstance(s, PhraseBoxes)]
        asked = {sample.image.patient_id for sample in dataset.samples}
        if asked & {phrase.image.patient_id for phrase in phrases}:
            return None
        return build_box_table(phrases, f"{evaluation.dataset} train")


def _tree_of(spec: DatasetSpec, evaluation: Evaluation) -> str:
    """The phantom tree: a crossed cell has one of its own, other cohorts share their dataset's."""
    return evaluation.cohort if evaluation.cohort.startswith("mimic-") else spec.name
