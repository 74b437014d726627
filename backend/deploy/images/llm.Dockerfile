# A llama.cpp replica: 8080 the OpenAI API, 8081 health. GGUF files belong into /models (MODEL_PATH names one).
# Built in the folder that `trinity deploy render images` wrote: docker build -f llm.Dockerfile -t trinity-llm .
# BASE is any Linux with Python 3.11 to 3.13 and pip as `python3`; what it has already is not installed again.
ARG BASE=python:3.12-slim
FROM ${BASE} AS build
COPY pick.py requirements.lock packages/llm.txt dist/*.whl /build/
RUN cd /build && python3 pick.py llm.txt requirements.lock > role.lock \
 && python3 -m venv --without-pip --system-site-packages /opt/trinity \
 && pip="python3 -m pip --python /opt/trinity/bin/python3 --disable-pip-version-check" \
 && $pip install --quiet --no-cache-dir --no-deps --require-hashes -r role.lock \
 && $pip install --quiet --no-cache-dir --no-deps ./*.whl

FROM ${BASE}
# llama.cpp computes with OpenMP, whose library no wheel brings along and slim images leave out.
RUN python3 -c "import ctypes; ctypes.CDLL('libgomp.so.1')" 2>/dev/null \
 || { apt-get update -qq && apt-get install -y -qq --no-install-recommends libgomp1 && rm -rf /var/lib/apt/lists/* /var/cache/apt/*; }
COPY --from=build /opt/trinity /opt/trinity
ENV PATH=/opt/trinity/bin:${PATH} PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 HOME=/tmp HOST=0.0.0.0 PORT=8080 HEALTH_PORT=8081
RUN mkdir -p /models && chown 10001:10001 /models && python3 -c "import xllamacpp"
USER 10001:10001
EXPOSE 8080 8081
HEALTHCHECK --interval=5s --timeout=3s --start-period=60s --retries=3 \
  CMD ["python3", "-c", "import urllib.request; urllib.request.urlopen('http://127.0.0.1:8081/health/live', timeout=2)"]
ENTRYPOINT ["python3", "-P", "-m", "backend.serving.llm"]
