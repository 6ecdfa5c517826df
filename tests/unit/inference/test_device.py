import pytest
import torch

from qpbridge.errors import InvalidValueError
from qpbridge.inference import device as devices
from qpbridge.inference.device import Runtime, choose_device, has_fast_bf16, repeatable, use_available_cores


@pytest.fixture
def no_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)


@pytest.fixture
def two_gpus(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)


@pytest.mark.usefixtures("no_gpu")
def test_auto_is_the_cpu_where_there_is_nothing_else() -> None:
    assert choose_device("auto") == torch.device("cpu")


@pytest.mark.usefixtures("two_gpus")
def test_auto_takes_the_gpu_there_is() -> None:
    assert choose_device("auto") == torch.device("cuda:0")
    assert choose_device("cuda:1") == torch.device("cuda:1")
    assert choose_device("cpu") == torch.device("cpu")


@pytest.mark.usefixtures("two_gpus")
def test_a_gpu_beyond_those_present_is_refused_with_their_number() -> None:
    with pytest.raises(InvalidValueError, match=r"'cuda:2' is not here: this machine has 2 CUDA GPU"):
        choose_device("cuda:2")


@pytest.mark.usefixtures("no_gpu")
@pytest.mark.parametrize("name", ["cuda", "cuda:0", "mps"])
def test_an_absent_device_is_refused(name: str) -> None:
    with pytest.raises(InvalidValueError, match=f"'{name}' is not here"):
        choose_device(name)


@pytest.mark.parametrize("name", ["gpu", "cuda:x", "cuda:-1", "CPU", ""])
def test_an_unknown_device_is_refused_with_those_there_are(name: str) -> None:
    with pytest.raises(InvalidValueError, match="there are: auto, cpu, cuda"):
        choose_device(name)


@pytest.mark.parametrize(("features", "expected"), [({"amx_bf16": True}, True), ({"avx2": True}, False), ({}, False)])
def test_bf16_follows_the_features_of_the_cpu(
    features: dict[str, bool], expected: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: features, raising=False)

    assert has_fast_bf16(torch.device("cpu")) is expected
    assert Runtime.suited_to(torch.device("cpu")).is_bf16 is expected


def test_threads_follow_the_cores_the_process_may_use(monkeypatch: pytest.MonkeyPatch) -> None:
    given: list[int] = []
    monkeypatch.setattr(torch, "set_num_threads", given.append)
    monkeypatch.setattr(devices, "available_cores", lambda: 6)

    for limit in ("", "4", "64", "0", "many"):
        monkeypatch.setenv("OMP_NUM_THREADS", limit)
        use_available_cores()

    assert given == [6, 4, 6, 6, 6]


def test_convolutions_of_a_gpu_repeat_themselves_while_asked_to() -> None:
    before = torch.backends.cudnn.deterministic

    with repeatable(torch.device("cuda")):
        assert torch.backends.cudnn.deterministic
        assert not torch.backends.cudnn.benchmark
    with repeatable(torch.device("cpu")):
        assert torch.backends.cudnn.deterministic == before

    assert torch.backends.cudnn.deterministic == before


def test_an_empty_batch_is_refused() -> None:
    with pytest.raises(InvalidValueError, match="a batch of 0 tiles"):
        Runtime(device=torch.device("cpu"), batch_size=0)
