from qpbridge.core.progress import Progress, SilentProgress


def test_silence_takes_everything_and_keeps_only_the_warnings(capsys) -> None:
    progress: Progress = SilentProgress()

    progress.report("train", 1, 0, loss=0.5)
    progress.warn("first")
    progress.raise_if_cancelled()
    progress.warn("second")

    assert isinstance(progress, SilentProgress)
    assert progress.warnings == ["first", "second"]
    assert capsys.readouterr() == ("", "")
    assert SilentProgress().warnings == []
