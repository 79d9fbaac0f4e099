"""adstudio (``app-yh``): five HTTP stages that turn a photo and a line of copy into finished ads."""

import os

# From 1.29 on, ONNX Runtime sends events about models and machine to its maker unless told not to before it is loaded.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")

# A stage works on one core, and several stages at once on as many as there are. Tesseract would start a team of threads
# for every line that it reads, which then wait for each other busily; OpenMP asks here when it is loaded.
os.environ.setdefault("OMP_THREAD_LIMIT", "1")
