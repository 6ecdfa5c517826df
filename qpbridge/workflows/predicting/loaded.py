"""The entry of a worker process that has loaded its libraries before the first job comes."""

from qpbridge.workflows import evaluate, export, inspect, predict, train
from qpbridge.workflows.predicting import region
from qpbridge.workflows.worker import run

__all__ = ["evaluate", "export", "inspect", "predict", "region", "run", "train"]
