# The CPU image; a GPU is used where the container runtime passes one in and torch finds it.
ARG BASE=python:3.11-slim-bookworm
FROM ${BASE}

LABEL org.opencontainers.image.title="bids-neurossm" \
      org.opencontainers.image.description="State-space models of brain dynamics from fMRIPrep derivatives" \
      org.opencontainers.image.licenses="Apache-2.0"

COPY . /opt/src
RUN python -m pip install --no-cache-dir --constraint /opt/src/constraints.txt /opt/src && rm -rf /opt/src

# Any user may run it: caches go to the work folder, HOME may be missing, and nothing outside bind mounts is written.
ENV HOME=/tmp \
    PYTHONDONTWRITEBYTECODE=1 \
    TEMPLATEFLOW_HOME=/opt/templateflow
USER 65534:65534
ENTRYPOINT ["bids-neurossm"]
