"""The model server: a released bundle behind HTTP. `process.serve(options)` runs it, `__main__` is its command line.

Open Inference Protocol v2 with binary tensors, `/predict` and `/batch_predict` for raw rows, `/health`, `/metrics`.
An ONNX bundle needs numpy, onnxruntime, starlette, uvicorn and prometheus-client, nothing of training. Reads the
bundle and the options; writes stdout, stderr and, for a bundle behind a URL, a temporary folder.
"""

from aifctl.runtime.server.options import ServerOptions

__all__ = ["ServerOptions"]
