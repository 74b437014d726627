# The edge (HAProxy): 8080 clients, 8081 health, 9090 metrics, 8404 statistics. Reads /etc/trinity/edge.yaml.
# Built in the folder that `trinity deploy render images` wrote: docker build -f edge.Dockerfile -t trinity-edge .
# BASE is any Linux with Python 3.11 to 3.13 and pip as `python3`; what it has already is not installed again.
ARG BASE=python:3.12-slim
FROM ${BASE} AS build
WORKDIR /build
COPY pick.py requirements.lock packages/edge.txt ./
COPY dist/ dist/
RUN python3 pick.py edge.txt requirements.lock > edge.lock \
 && python3 -m venv --system-site-packages /opt/trinity \
 && /opt/trinity/bin/python3 -m pip install --quiet --no-cache-dir --disable-pip-version-check --no-deps --require-hashes -r edge.lock \
 && /opt/trinity/bin/python3 -m pip install --quiet --no-cache-dir --disable-pip-version-check --no-deps dist/*.whl

FROM ${BASE}
LABEL org.opencontainers.image.title="trinity-edge" org.opencontainers.image.licenses="Apache-2.0"
COPY --from=build /opt/trinity /opt/trinity
ENV PATH=/opt/trinity/bin:${PATH} PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 HOME=/tmp
RUN mkdir -p /run/trinity /etc/trinity && chown 10001:10001 /run/trinity
USER 10001:10001
WORKDIR /tmp
EXPOSE 8080 8081 9090 8404
HEALTHCHECK --interval=5s --timeout=3s --start-period=60s --retries=3 \
  CMD ["python3", "-c", "import urllib.request; urllib.request.urlopen('http://127.0.0.1:8081/health/live', timeout=2)"]
# HAProxy stops taking connections and finishes what it has.
STOPSIGNAL SIGUSR1
ENTRYPOINT ["python3", "-P", "-m", "backend.edge.standalone"]
