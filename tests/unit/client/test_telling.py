from dataclasses import replace

import pytest
from fake_server import Watching, feature, job
from hypothesis import given
from hypothesis import strategies as st

from qpbridge.client.telling import Lines, News, objects_of
from qpbridge.errors import CancelledError, DamagedGeoJsonError
from qpbridge.jobs.records import Chunk, JobProgress, JobState
from qpbridge.wire.jobs import event_message

NOW = JobProgress(stage="train", done=3, total=9, numbers={"loss": 0.5})


def test_a_progress_hears_what_goes_on_and_each_warning_once() -> None:
    progress = Watching()
    news = News(progress)

    news.tell(job(JobState.QUEUED))
    news.tell(job(progress=NOW, warnings=("odd",)))
    news.tell(job(progress=replace(NOW, done=4), warnings=("odd", "strange")))

    assert progress.reports[0][0] == "wait in the queue"
    assert progress.reports[1:] == [("train", 3, 9, {"loss": 0.5}), ("train", 4, 9, {"loss": 0.5})]
    assert progress.warnings == ["odd", "strange"]


def test_what_a_stream_brings_is_told_and_somebody_may_stop_it() -> None:
    progress = Watching(stop_at="train")
    news = News(progress)

    for answer in (None, event_message(Chunk(payload=b"", count=0)), event_message(job(progress=NOW))):
        news.hear(answer)

    assert progress.reports == [("train", 3, 9, {"loss": 0.5})]
    with pytest.raises(CancelledError):
        news.hear(None)


def test_nobody_need_listen() -> None:
    news = News(None)

    news.tell(job(warnings=("odd",)))
    news.raise_if_cancelled()


@given(st.lists(st.binary(min_size=1).filter(lambda line: b"\n" not in line)), st.integers(1, 9))
def test_lines_are_put_together_however_they_were_cut(lines: list[bytes], size: int) -> None:
    content = b"".join(line + b"\n" for line in lines)
    pieces = [content[start : start + size] for start in range(0, len(content), size)]
    joining = Lines()

    assert [line for piece in pieces for line in joining.whole(piece)] == lines


def test_lines_become_objects() -> None:
    first, second = objects_of([feature(1), feature(2)])

    assert (first.id[-1], second.id[-1]) == ("1", "2")
    assert first.path_class is not None
    assert (first.path_class.name, first.geometry.area) == ("Tumor", 81)


def test_what_is_no_feature_is_told() -> None:
    with pytest.raises(DamagedGeoJsonError, match="what the server sent"):
        objects_of([b"{"])
