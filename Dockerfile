# syntax=docker/dockerfile:1
# The serving image: no torch, no compiler, not root.
#   docker build .                                              onnxruntime-gpu, runs on CPU too
#   docker build --build-arg ONNXRUNTIME=onnxruntime .          CPU only, half the size
#   docker build --build-arg 'ONNXRUNTIME=onnxruntime-gpu[cuda,cudnn]' .   with the CUDA libraries

FROM python:3.11-slim-bookworm AS build
ARG ONNXRUNTIME=onnxruntime-gpu
WORKDIR /src
RUN python -m venv /opt/seqserve
COPY pyproject.toml constraints.txt LICENSE README.md ./
COPY models models
COPY service service
COPY training training
# The CPU build has the same version and the same module; only its name differs.  A constraint
# takes no extras.
RUN sed -i "s/onnxruntime-gpu/${ONNXRUNTIME}/" pyproject.toml \
    && sed -i "s/onnxruntime-gpu/${ONNXRUNTIME%%\[*}/" constraints.txt \
    && /opt/seqserve/bin/pip install --no-cache-dir --constraint constraints.txt '.[redis]' \
    && /opt/seqserve/bin/pip uninstall --yes pip setuptools

FROM python:3.11-slim-bookworm
RUN useradd --system --uid 10001 --no-create-home seqserve \
    && install --directory --owner 10001 /var/lib/seqserve
COPY --from=build /opt/seqserve /opt/seqserve
ENV PATH=/opt/seqserve/bin:$PATH PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 \
    SEQSERVE_CACHE=/tmp/seqserve-cache SEQSERVE_STORE=sqlite:////var/lib/seqserve/sessions.db \
    SEQSERVE_STATES=/var/lib/seqserve/states \
    SEQSERVE_USAGE=/var/lib/seqserve/usage
VOLUME /var/lib/seqserve
USER 10001
EXPOSE 8000
HEALTHCHECK --interval=10s --timeout=3s --start-period=30s --retries=3 \
    CMD ["python", "-c", "import urllib.request; urllib.request.urlopen('http://127.0.0.1:8000/health/ready', timeout=2)"]
ENTRYPOINT ["seqserve"]
# Without keys this refuses to start: see docs/keys.md, and compose.yaml.
CMD ["serve", "--host", "0.0.0.0", "--port", "8000"]
