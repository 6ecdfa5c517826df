from pathlib import Path

from qpbridge.evaluation.confusion import ConfusionMatrix
from qpbridge.evaluation.instances import InstanceScores
from qpbridge.workflows.evaluating.scores import EntryScore, EvaluationReport, NucleiScore


def entry(name: str, nuclei: NucleiScore | None) -> EntryScore:
    matrix = ConfusionMatrix(["Nucleus", "(unlabelled)"])
    return EntryScore(key=name, name=name, matrix=matrix, pixel_area_mm2=1e-6, slide_mm2=1.0, nuclei=nuclei)


def score(found: int, missed: int, picture: str) -> NucleiScore:
    return NucleiScore(
        scores=InstanceScores(true_objects=found + missed, predicted_objects=found, matched=found, matched_iou=found),
        verdicts={"found": found, "missed": missed},
        pictures=(Path(picture),),
    )


def test_nuclei_are_pooled_and_averaged_over_entries() -> None:
    entries = (entry("a", score(1, 0, "a.png")), entry("b", score(3, 3, "b.png")))
    matrix = ConfusionMatrix(["Nucleus", "(unlabelled)"])

    told = EvaluationReport(pooled=matrix, entries=entries).to_dict()

    assert told["nuclei"]["counts"] == {"annotated": 7, "predicted": 4, "matched": 4, "found": 4, "missed": 3}
    assert told["nuclei"]["recall"] == 4 / 7
    assert told["nuclei"]["pictures"] == ["a.png", "b.png"]
    assert told["nuclei_mean"]["recall"] == (1 + 0.5) / 2
    assert told["nuclei_mean"]["aji"] is None
    assert told["nuclei_mean"]["counts"] is None


def test_of_tissue_there_are_no_nuclei_to_tell() -> None:
    report = EvaluationReport(pooled=ConfusionMatrix(["Tumor"]), entries=(entry("a", None),))

    assert report.to_dict()["nuclei"] is report.to_dict()["nuclei_mean"] is None
    assert report.to_dict()["entries"][0]["nuclei"] is None
