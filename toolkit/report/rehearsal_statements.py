"""The post-mortem's sentences on a plan's rehearsal: what the copy predicted, beside what came of it on the target."""

from toolkit.analysis import Analysis, words
from toolkit.analysis.prediction import ComparedStep, Measured, Prediction
from toolkit.report.citations import Citations, markdown

NAMED = 3


class RehearsalStatements:
    """Sentences and cells in Markdown. `cite` remembers what they cite."""

    def __init__(self, analysis: Analysis, citations: Citations) -> None:
        self._prediction, self._cite = analysis.response.prediction, citations

    @property
    def steps(self) -> tuple[ComparedStep, ...]:
        """Those of the plan; none where nothing was predicted."""
        return self._prediction.steps if self._prediction else ()

    def rehearsal(self) -> str:
        made = self._prediction
        if made is None:
            return "Rehearsal: not measured. The journal tells of none for this plan."
        if made.outcome is None:
            reason = markdown(made.why.rstrip(".")) if made.why else "no reason was given"
            return f"The plan was not rehearsed: {reason} {self._cite(made.reference)}."
        took = f" in {words.duration(made.seconds)}" if made.seconds is not None else ""
        built = f", {words.duration(made.restored_s)} of it for the copy" if made.restored_s is not None else ""
        why = f" {markdown(words.sentence(made.why))}" if made.why else ""
        outcome = markdown(made.outcome)
        return (
            f"The plan was rehearsed on a copy{took}{built}. Outcome: **{outcome}**.{why} {self._cite(made.reference)}"
        )

    def total(self) -> str:
        """The steps that both sides have, together."""
        made = self._prediction
        assert made is not None
        both = _both(made)
        if not both:
            return f"No step was both rehearsed and carried out: nothing can be compared {self._cite(made.reference)}."
        predicted, real = (sum(each) for each in zip(*both, strict=True))
        count = words.plural(len(both), "step")
        said = f"{count} that the copy could try: {words.duration(predicted)} predicted, {words.duration(real)} taken"
        return f"{said} {self._cite(made.reference)}."

    def took(self, measured: Measured | None, otherwise: str) -> str:
        return otherwise if measured is None else words.duration(measured.seconds)

    def locks(self, measured: Measured | None) -> str:
        """Which, and for how long at the longest."""
        if measured is None or not measured.locks:
            return "–"
        held = words.duration(measured.held_s)
        return markdown(f"{_some(measured.locks)}, for {held}")

    def salvaged(self, measured: Measured | None) -> str:
        if measured is None or not measured.salvaged:
            return "–"
        return markdown(_some(tuple(each.what for each in measured.salvaged)))


def _both(made: Prediction) -> list[tuple[float, float]]:
    pairs = [(each.predicted, each.real) for each in made.steps if each.predicted and each.real]
    return [(p.seconds, r.seconds) for p, r in pairs if p.seconds is not None and r.seconds is not None]


def _some(lines: tuple[str, ...]) -> str:
    more = f" and {len(lines) - NAMED} more" if len(lines) > NAMED else ""
    return "; ".join(lines[:NAMED]) + more
