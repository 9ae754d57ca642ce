# The relay's image: a virtual environment built in one stage, carried into a bare Python in the next.
# The base is named by tag; whoever publishes the image pins it by digest (--build-arg PYTHON_IMAGE=…@sha256:…).
ARG PYTHON_IMAGE=python:3.13-slim-bookworm

FROM ${PYTHON_IMAGE} AS build
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1 PIP_ROOT_USER_ACTION=ignore
WORKDIR /src
RUN python -m venv --without-pip /opt/relay
# The dependencies first: this layer stays in the cache until a pin changes. Wheels only: no compiler is ever needed.
# With --build-arg OTEL=1 the image can trace.
ARG OTEL=
COPY requirements.txt requirements-otel.txt ./
RUN python -m pip --python /opt/relay/bin/python install --require-hashes --only-binary=:all: --no-compile \
    -r requirements.txt ${OTEL:+-r requirements-otel.txt}
COPY pyproject.toml README.md LICENSE ./
COPY relay ./relay
# The build backend goes again once it has served, and so do the tables of place names in phonenumbers, a fifth of the
# whole, which only its geocoder reads. The byte code is made here, since the root file system is read-only where this
# runs; it trusts no time stamps, so that two builds agree.
RUN python -m pip --python /opt/relay/bin/python install --no-build-isolation --no-deps --no-compile . \
    && python -m pip --python /opt/relay/bin/python uninstall --yes flit-core \
    && rm -r /opt/relay/lib/python3.*/site-packages/phonenumbers/geodata \
    && /opt/relay/bin/python -m compileall -q --invalidation-mode unchecked-hash /opt/relay/lib

FROM ${PYTHON_IMAGE}
ARG VERSION=0.1.0
ARG REVISION=unknown
LABEL org.opencontainers.image.title="relay" \
      org.opencontainers.image.description="The one service through which every other service sends SMS over smsclone.com" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}"
RUN groupadd --gid 10001 relay \
    && useradd --uid 10001 --gid 10001 --no-create-home --home-dir /nonexistent --shell /usr/sbin/nologin relay \
    && install --directory --owner=10001 --group=10001 --mode=0750 /var/lib/relay \
    && python -m pip uninstall --yes --root-user-action=ignore pip
COPY --from=build /opt/relay /opt/relay
# The listener is open to the pod's network; the journal has the one place that may be written.
ENV PATH=/opt/relay/bin:$PATH \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    RELAY_LISTEN_HOST=0.0.0.0 \
    RELAY_JOURNAL_URL=sqlite:////var/lib/relay/relay.db
WORKDIR /var/lib/relay
# A number, so that Kubernetes can see that it is not root.
USER 10001:10001
EXPOSE 8080
ENTRYPOINT ["relay"]
CMD ["serve"]
