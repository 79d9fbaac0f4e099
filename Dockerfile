FROM python:3.12-slim AS build

ENV PIP_NO_CACHE_DIR=1 PIP_ROOT_USER_ACTION=ignore PIP_DISABLE_PIP_VERSION_CHECK=1 UV_NO_CACHE=1 UV_LINK_MODE=copy
WORKDIR /source
COPY constraints.txt ./
RUN pip install --quiet --constraint constraints.txt uv && python -m venv --without-pip /opt/adstudio
COPY . .
RUN uv pip install --python /opt/adstudio/bin/python --constraint constraints.txt --compile-bytecode \
    ".[fastapi]" "./apps/adstudio[s3]"


FROM python:3.12-slim

RUN useradd --system --create-home --home-dir /var/lib/adstudio --shell /usr/sbin/nologin adstudio
COPY --from=build /opt/adstudio /opt/adstudio

ENV PATH=/opt/adstudio/bin:$PATH PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 HOST=0.0.0.0 PORT=8011 \
    ADSTUDIO_DATA=/var/lib/adstudio
USER adstudio
WORKDIR /var/lib/adstudio
EXPOSE 8011

# The image has no curl. The server listens on every address, so this one is right whatever HOST says.
HEALTHCHECK --interval=10s --timeout=5s --start-period=30s --retries=3 \
    CMD ["python", "-c", "import os, urllib.request as r; r.urlopen(f'http://127.0.0.1:{os.environ[\"PORT\"]}/healthz', timeout=4)"]

CMD ["adstudio", "serve"]
