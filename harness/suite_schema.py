"""What a suite YAML may say, as pydantic models; every field is classed as identity or runtime."""

from typing import Any

from pydantic import BaseModel, ConfigDict, Field


class ModelReference(BaseModel):
    """A model by name, directory, `module:function`, or `{name, use, options}`.

    `use` is what is loaded (a control, card, checkpoint, directory or `module:function`); `name` is
    what the row is called.
    """

    model_config = ConfigDict(extra="forbid")

    name: str
    use: str = ""
    options: dict[str, Any] = Field(default_factory=dict)

    @property
    def target(self) -> str:
        """What is loaded: `use`, or the name itself."""
        return self.use or self.name


class Evaluation(BaseModel):
    """One task on one dataset, split and cohort; `options` are keyword arguments of the task."""

    model_config = ConfigDict(extra="forbid")

    task: str
    dataset: str
    split: str = "test"
    cohort: str = ""
    metrics: list[str] = Field(default_factory=list)
    options: dict[str, Any] = Field(default_factory=dict)
    models: list[str] = Field(default_factory=list)  # names; empty: all of the suite


class Suite(BaseModel):
    """A suite after `extends`, `${VAR:-default}` and overrides have been resolved."""

    model_config = ConfigDict(extra="forbid")

    suite: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")  # names the folder below runs/
    title: str = ""
    models: list[ModelReference]
    evaluations: list[Evaluation]
    seeds: list[int] = Field(default_factory=lambda: [0])


# Every field stands in exactly one of these two tables (a test holds it): what decides a number is
# identity and enters the cell's key, what only says where or how fast is runtime and does not.
IDENTITY = {
    "ModelReference": {"use", "options"},
    "Evaluation": {"task", "dataset", "split", "cohort", "options"},
    "Suite": {"seeds"},
}
RUNTIME = {
    "ModelReference": {"name"},
    "Evaluation": {"metrics", "models"},
    "Suite": {"suite", "title", "models", "evaluations"},
}
