# The image of every command: built from this checkout, runs without root, on a root file system that may be read-only.
# Versions are fixed: base images by tag, Python packages by the hashes of the lock files, crates by Cargo.lock.
# Not built by our tests, which have no container engine; tests/unit/test_images.py says what is checked instead.

# The wheel, built once.
FROM rust:1.95.0-bookworm AS wheel
# The toolchain of the image, not the newest one that rust-toolchain.toml would fetch.
ENV RUSTUP_TOOLCHAIN=1.95.0
RUN apt-get update \
    && apt-get install --yes --no-install-recommends python3 python3-venv \
    && rm -rf /var/lib/apt/lists/* \
    && python3 -m venv /build
WORKDIR /src
COPY requirements/uv.lock requirements/uv.lock
RUN /build/bin/pip install --no-cache-dir --require-hashes --requirement requirements/uv.lock
COPY Cargo.toml Cargo.lock rust-toolchain.toml pyproject.toml requirements-dev.lock README.md LICENSE ./
COPY native native
COPY proto proto
COPY python python
COPY streamlit_app streamlit_app
RUN MATURIN_PEP517_ARGS=--locked /build/bin/uv build --wheel --no-cache --python python3 --require-hashes \
    --build-constraints requirements-dev.lock --out-dir /wheels

# The packages it needs at run time, without what is only needed to install them.
FROM python:3.13.9-slim-bookworm AS environment
COPY requirements.lock /tmp/requirements.lock
RUN python -m venv /opt/fraudengine \
    && /opt/fraudengine/bin/pip install --no-cache-dir --no-compile --require-hashes --requirement /tmp/requirements.lock
COPY --from=wheel /wheels /tmp/wheels
RUN /opt/fraudengine/bin/pip install --no-cache-dir --no-deps /tmp/wheels/*.whl \
    && /opt/fraudengine/bin/pip uninstall --yes pip

FROM python:3.13.9-slim-bookworm
RUN useradd --uid 10001 --no-create-home --home-dir /nonexistent fraudengine \
    && install --directory --owner=fraudengine --group=fraudengine /state /inbox /models
COPY --from=environment /opt/fraudengine /opt/fraudengine
ENV PATH=/opt/fraudengine/bin:$PATH PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1
USER 10001:10001
WORKDIR /state
ENTRYPOINT ["fraudengine"]
CMD ["--help"]
