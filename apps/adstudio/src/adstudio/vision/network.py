"""One ONNX file, opened once and run from any thread."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import cast

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray

from adstudio.vision.errors import ModelError

Tensor = NDArray[np.float32]

_INPUT_TYPES: Mapping[str, type[np.floating]] = {
    "tensor(float)": np.float32,
    "tensor(float16)": np.float16,
}


class Network:
    """An ONNX graph with one image input, loaded on construction.

    ``run`` may be called from several threads at once: ONNX Runtime's sessions allow it, and nothing
    here is written after construction. ``threads`` is the number of cores that one run may use; one
    is right for a server that works on several jobs at a time.
    """

    def __init__(self, path: Path, *, threads: int = 1) -> None:
        """Opens ``path``; raises ``ModelError`` when it is missing, not ONNX, or takes something else."""
        self.path = path
        if not path.is_file():
            raise ModelError(f"{path}: no such file")
        options = ort.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        # An arena keeps the memory that its runs needed, some 350 MB a thread; without one a run takes a quarter
        # longer.
        options.enable_cpu_mem_arena = False
        options.log_severity_level = 3  # the shipped graphs draw a warning per unused initializer
        try:
            self._session = ort.InferenceSession(str(path), sess_options=options, providers=["CPUExecutionProvider"])
        except Exception as error:  # ONNX Runtime's errors share no base class below Exception
            raise ModelError(f"{path}: not a usable ONNX model ({error})") from error
        inputs = self._session.get_inputs()
        if len(inputs) != 1:
            raise ModelError(f"{path}: takes {len(inputs)} inputs, a single image was expected")
        self._input = inputs[0].name
        if inputs[0].type not in _INPUT_TYPES:
            raise ModelError(f"{path}: takes {inputs[0].type}, a float image was expected")
        self._dtype = _INPUT_TYPES[inputs[0].type]
        self.input_shape: tuple[int | str | None, ...] = tuple(inputs[0].shape)
        """As the file declares it; an axis of free size is a name or None."""
        self.output_shapes: list[tuple[int | str | None, ...]] = [tuple(o.shape) for o in self._session.get_outputs()]
        """The same, of every output."""
        self.metadata: Mapping[str, str] = dict(self._session.get_modelmeta().custom_metadata_map)

    def run(self, image: Tensor) -> list[Tensor]:
        """All outputs for one ``[1, 3, height, width]`` image, as float32 in the graph's own order.

        Raises ``ModelError`` when the graph refuses the image.
        """
        try:
            outputs = self._session.run(None, {self._input: image.astype(self._dtype, copy=False)})
        except Exception as error:  # as above
            raise ModelError(f"{self.path}: cannot be run ({error})") from error
        return [cast(Tensor, np.asarray(output).astype(np.float32, copy=False)) for output in outputs]
