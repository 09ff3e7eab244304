# The image of `fraudengine stream` and of every other command: built from this checkout, run without root.
# Not built by our tests, which have no container engine; they check that what is copied here exists.

FROM rust:1-bookworm AS build
RUN apt-get update && apt-get install --yes --no-install-recommends python3-venv && rm -rf /var/lib/apt/lists/*
RUN python3 -m venv /build && /build/bin/pip install --no-cache-dir "maturin>=1.9,<2"
WORKDIR /src
COPY Cargo.toml Cargo.lock rust-toolchain.toml pyproject.toml README.md LICENSE ./
COPY native native
COPY proto proto
COPY python python
COPY streamlit_app streamlit_app
RUN /build/bin/maturin build --release --locked --out /wheels

FROM python:3.13-slim-bookworm
COPY requirements.lock /tmp/requirements.lock
RUN pip install --no-cache-dir --require-hashes --requirement /tmp/requirements.lock
COPY --from=build /wheels /tmp/wheels
RUN pip install --no-cache-dir --no-deps /tmp/wheels/*.whl && rm -r /tmp/wheels /tmp/requirements.lock \
    && useradd --create-home fraudengine && install --directory --owner=fraudengine /state /models
USER fraudengine
WORKDIR /home/fraudengine
ENTRYPOINT ["fraudengine"]
CMD ["--help"]
