"""Train a model on a server, watch it learn, and see what it finds on the whole slide.

Slide, project and server are made for it, and go when it ends: ``uv run python examples/train_and_wait.py``. To ask a
server that runs already (``qpbridge serve``), write ``with Client() as client:``.
"""

import tempfile
from pathlib import Path

from support.small_project import make_project, quick_training

from qpbridge.client import Client, started_server
from qpbridge.core.progress import SilentProgress
from qpbridge.workflows.requests import PredictRequest


class Printed(SilentProgress):
    """Prints how the training goes."""

    def report(self, stage: str, done: int, total: int, **numbers: float) -> None:
        print(f"{stage} {done}/{total}", *(f"{name} {value:.3f}" for name, value in numbers.items()))


def main(client: Client, folder: Path) -> None:
    project, model = make_project(folder), folder / "model"

    job = client.train(quick_training(project, model))
    print(f"job {job.id} is {job.state}; this program may end here, and wait for it another time")
    trained = client.wait(job, Printed()).result or {}
    print(f"learned from {trained['training_patches']} patches on {trained['device']}")

    predicted = client.run(PredictRequest(inputs=(project,), model=model, out=folder / "results"))
    for slide in predicted["slides"]:
        print(f"{slide['file']}: {slide['objects']} regions that QuPath can import")
        for found in slide["classes"]:
            print(f"{found['name']:>12} {found['area_mm2']:6.3f} mm²")


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        with started_server(folder / "server", [folder]) as client:
            main(client, folder)
