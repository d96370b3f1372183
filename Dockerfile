# bids-neurossm as an image. `make container-test` builds the CPU variant and runs it; docs/containers.md has the commands.
#
#   BASE        any Debian or Ubuntu, or an official Python image; with its digest (NAME:TAG@sha256:...) the build can be
#               repeated. `docker buildx imagetools inspect NAME:TAG` prints today's; the default is a tag alone
#   CUDA        1: torch with CUDA, and mamba-ssm and causal-conv1d compiled in BUILD_BASE
#   BUILD_BASE  with CUDA=1 an image with nvcc and the same Python as BASE, else left alone
#   DATA        1: atlases and Neurosynth are fetched while building, so that nothing is missing offline
#   PIP_ARGS    handed to pip, for instance an index that has torch without CUDA
#   VERSION, REVISION   of the source, for the labels
#
# `--build-context resources=DIR` puts a folder that bids-neurossm-fetch filled into the image, without a network.
ARG BASE=python:3.11-slim-bookworm
ARG BUILD_BASE=${BASE}

# Nothing, unless a build context of this name takes its place.
FROM scratch AS resources

FROM ${BASE} AS base
RUN command -v python3 >/dev/null && python3 -c 'import ensurepip, venv' 2>/dev/null \
    || { apt-get update && apt-get install --yes --no-install-recommends python3 python3-venv \
         && rm -rf /var/lib/apt/lists/*; }

# What needs nvcc is compiled apart, so that the toolkit (gigabytes) stays out of the image.
FROM ${BUILD_BASE} AS wheels
ARG CUDA=0
ARG PIP_ARGS=""
COPY constraints.txt /tmp/
RUN mkdir /wheels && if [ "$CUDA" = 1 ]; then \
        apt-get update \
        && apt-get install --yes --no-install-recommends python3-dev python3-venv g++ \
        && python3 -m venv /opt/build \
        && /opt/build/bin/python -m pip install ${PIP_ARGS} --constraint /tmp/constraints.txt \
           torch setuptools wheel packaging ninja \
        && /opt/build/bin/python -m pip wheel ${PIP_ARGS} --no-build-isolation --no-deps --wheel-dir /wheels \
           'mamba-ssm>=2.2.4' 'causal-conv1d>=1.5'; \
    fi

FROM base AS install
ARG PIP_ARGS=""
# What others wrote comes first: it is installed again only when the pins change. Tests of libraries, and what torch
# needs to compile C++, are half a gigabyte; nilearn and nibabel import their own tests, which stay.
COPY constraints.txt pyproject.toml /opt/src/
COPY --from=wheels /wheels /wheels
RUN python3 -m venv /opt/venv \
    && /opt/venv/bin/python -c "import tomllib; \
print(*tomllib.load(open('/opt/src/pyproject.toml', 'rb'))['project']['dependencies'], sep='\n')" >/opt/requirements.txt \
    && /opt/venv/bin/python -m pip install ${PIP_ARGS} --no-cache-dir --constraint /opt/src/constraints.txt \
       --requirement /opt/requirements.txt $(find /wheels -name '*.whl') \
    && cd /opt/venv/lib/python3*/site-packages \
    && rm -rf torch/test torch/include torch/bin/protoc* torch/bin/*Test torch/bin/test_* \
    && for name in matplotlib mpmath networkx nimare nipype numba numpy pandas prov pyarrow scipy sklearn statsmodels sympy; \
       do find "$name" -depth -type d -name tests -exec rm -rf {} +; done
COPY . /opt/src
RUN /opt/venv/bin/python -m pip install ${PIP_ARGS} --no-cache-dir --constraint /opt/src/constraints.txt --no-deps \
       /opt/src \
    && /opt/venv/bin/python -m pip check \
    && /opt/venv/bin/bids-neurossm --version

FROM install AS data
ARG DATA=0
COPY --from=resources / /opt/resources/
RUN if [ "$DATA" = 1 ]; then /opt/venv/bin/bids-neurossm-fetch /opt/resources; fi \
    && chmod -R a+rX /opt/resources

FROM base
ARG BASE
ARG VERSION=""
ARG REVISION=""
LABEL org.opencontainers.image.title="bids-neurossm" \
      org.opencontainers.image.description="State-space models of brain dynamics from fMRIPrep derivatives" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}" \
      org.opencontainers.image.base.name="${BASE}"
COPY --from=install /opt/venv /opt/venv
COPY --from=data /opt/resources /opt/resources

# Any user may run it, with or without a home: caches go to the work folder, and nothing outside the mounts and /tmp is
# written.
ENV PATH=/opt/venv/bin:/usr/local/bin:/usr/bin:/bin \
    HOME=/tmp \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONNOUSERSITE=1 \
    TEMPLATEFLOW_HOME=/opt/resources \
    NEUROSSM_RESOURCES=/opt/resources
USER 65534:65534
ENTRYPOINT ["bids-neurossm"]
