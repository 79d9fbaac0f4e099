"""adstudio (``app-yh``): five HTTP stages that turn a product photo and a line of copy into a finished ad."""

import os

# From 1.29 on, ONNX Runtime sends events about models and machine to its maker unless told not to before it is loaded.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
