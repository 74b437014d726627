# The control daemon and the console: 8081 health, 9090 metrics. Reads /etc/trinity/trinity.yaml; state is in /var/lib/trinity.
# Built in the folder that `trinity deploy render images` wrote: docker build -f daemon.Dockerfile -t trinity-daemon .
# BASE is any Linux with Python 3.11 to 3.13 and pip as `python3`; what it has already is not installed again.
ARG BASE=python:3.12-slim
FROM ${BASE} AS build
COPY pick.py requirements.lock packages/daemon.txt dist/*.whl /build/
RUN cd /build && python3 pick.py daemon.txt requirements.lock > role.lock \
 && python3 -m venv --without-pip --system-site-packages /opt/trinity \
 && pip="python3 -m pip --python /opt/trinity/bin/python3 --disable-pip-version-check" \
 && $pip install --quiet --no-cache-dir --no-deps --require-hashes -r role.lock \
 && $pip install --quiet --no-cache-dir --no-deps ./*.whl

FROM ${BASE}
COPY --from=build /opt/trinity /opt/trinity
ENV PATH=/opt/trinity/bin:${PATH} PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 HOME=/tmp TRINITY_STATE=/var/lib/trinity XDG_RUNTIME_DIR=/run/trinity MONITORING_HOST=0.0.0.0
RUN mkdir -p /var/lib/trinity /run/trinity /etc/trinity && chown 10001:10001 /var/lib/trinity /run/trinity
VOLUME /var/lib/trinity
USER 10001:10001
EXPOSE 8081 9090
HEALTHCHECK --interval=5s --timeout=3s --start-period=60s --retries=3 \
  CMD ["python3", "-c", "import urllib.request; urllib.request.urlopen('http://127.0.0.1:8081/health/live', timeout=2)"]
ENTRYPOINT ["trinityd", "--state", "/var/lib/trinity", "--file", "/etc/trinity/trinity.yaml"]
