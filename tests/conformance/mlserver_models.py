"""Two models for MLServer, which loads this file in an environment of its own."""

from __future__ import annotations

import numpy as np
from mlserver import MLModel
from mlserver.codecs import NumpyCodec, StringCodec
from mlserver.errors import InferenceError
from mlserver.types import InferenceRequest, InferenceResponse


class Sentiment(MLModel):  # type: ignore[misc]  # mlserver is not installed where types are checked
    """Texts to probabilities of two classes: positive where there is "good" in it, unsure of a question."""

    async def predict(self, payload: InferenceRequest) -> InferenceResponse:
        texts = StringCodec.decode_input(payload.inputs[0])
        if any("too long" in text for text in texts):
            raise InferenceError("an input is too long")
        sure = np.array([0.6 if "?" in text else 0.9 for text in texts])
        glad = np.where(["good" in text for text in texts], sure, 1.0 - sure)
        output = NumpyCodec.encode_output("probabilities", np.stack([1.0 - glad, glad], axis=1))
        return InferenceResponse(model_name=self.name, model_version="7", outputs=[output])


class Logits(MLModel):  # type: ignore[misc]  # as above
    """Rows of three numbers, which come back as logits."""

    async def predict(self, payload: InferenceRequest) -> InferenceResponse:
        rows = NumpyCodec.decode_input(payload.inputs[0])
        output = NumpyCodec.encode_output("logits", rows.astype(np.float32))
        return InferenceResponse(model_name=self.name, outputs=[output])
