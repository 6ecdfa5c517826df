from qpbridge.core.progress import Progress
from qpbridge.jobs.desk import Desk, SilentDesk
from qpbridge.jobs.records import Chunk


def test_a_silent_desk_is_a_desk_and_a_progress_that_keeps_what_it_is_told():
    silent = SilentDesk(device="cuda:1", is_resumed=True)
    desk: Desk = silent
    progress: Progress = desk

    progress.report("a", 1, 2, loss=0.5)
    progress.warn("careful")
    progress.raise_if_cancelled()
    desk.emit(b"{}", 1)

    assert silent.warnings == ["careful"]
    assert silent.chunks == [Chunk(payload=b"{}", count=1)]
    assert (desk.device, desk.is_resumed) == ("cuda:1", True)
    assert not SilentDesk().is_resumed
