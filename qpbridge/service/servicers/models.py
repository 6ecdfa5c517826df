"""Trained models, and the families that they come from."""

from __future__ import annotations

import asyncio

from qpbridge.service.catalog import Catalog
from qpbridge.service.families import Families
from qpbridge.service.servicers.caller import Caller
from qpbridge.service.servicers.intake import Intake
from qpbridge.service.servicers.paging import page_of
from qpbridge.v1 import model_pb2
from qpbridge.wire.jobs import job_message
from qpbridge.wire.records import pack


class ModelServicer:
    """``ModelService``.

    Parameters
    ----------
    intake : Intake
        Takes requests in.
    catalog : Catalog
        Of the models that there are.
    families : Families
        That can be trained.
    """

    def __init__(self, intake: Intake, catalog: Catalog, families: Families) -> None:
        self._intake = intake
        self._catalog = catalog
        self._families = families

    async def list_models(self, request: model_pb2.ListModelsRequest, _: Caller) -> model_pb2.ListModelsResponse:
        """Return a page of the models in the model folders; what cannot be read comes with the first one."""
        models, failures = await asyncio.to_thread(self._catalog.listing)
        page, token = page_of(models, lambda model: model.name, request.page_size, request.page_token)
        return model_pb2.ListModelsResponse(
            models=page, next_page_token=token, failures=() if request.page_token else failures
        )

    async def get_model(self, request: model_pb2.GetModelRequest, _: Caller) -> model_pb2.GetModelResponse:
        """Return one model."""
        return model_pb2.GetModelResponse(model=await asyncio.to_thread(self._catalog.model, request.model))

    async def list_families(self, request: model_pb2.ListFamiliesRequest, _: Caller) -> model_pb2.ListFamiliesResponse:
        """Return a page of the families."""
        families = await self._families.listing()
        page, token = page_of(families, lambda one: str(one["name"]), request.page_size, request.page_token)
        return model_pb2.ListFamiliesResponse(
            families=[pack(model_pb2.Family, one) for one in page], next_page_token=token
        )

    async def export_model(
        self, request: model_pb2.ExportModelRequest, caller: Caller
    ) -> model_pb2.ExportModelResponse:
        """Begin to write a model as ONNX."""
        return model_pb2.ExportModelResponse(job=job_message(await self._intake.submit(request, caller)))
