# The image of the service, and one of the demonstration. docs/containers.md says how to use them.
#
#     docker build -t whatsapp-orchestrator .
#     docker build -t whatsapp-orchestrator-demo --target demo .
#
# A release names the base by its digest: --build-arg BASE=docker.io/library/python:3.13-slim-bookworm@sha256:…
ARG BASE=docker.io/library/python:3.13-slim-bookworm


# ---- The packages. What is only needed to install, pip above all, stays behind in these stages.
FROM ${BASE} AS packages

ENV PIP_DISABLE_PIP_VERSION_CHECK=1 \
    PIP_NO_CACHE_DIR=1 \
    PIP_ROOT_USER_ACTION=ignore
WORKDIR /src
# pip refuses a file whose SHA-256 is another one than that in requirements/, and builds nothing.
COPY requirements/ requirements/
RUN python3 -m venv --without-pip /opt/orchestrator \
 && python3 -m pip --python /opt/orchestrator/bin/python install --no-compile -r requirements/run.txt


# ---- The program, in a folder of its own: a layer that an upgrade replaces, on top of the packages that stay.
FROM packages AS program

COPY pyproject.toml setup.py README.md LICENSE accounts.example.yaml ./
COPY systemd/ systemd/
COPY orchestrator/ orchestrator/
# What builds the program is one of the packages whose hashes were checked.
# The byte code is made here, since nobody can write it later, and is taken as it is: times of files change with copies.
RUN python3 -m pip --python /opt/orchestrator/bin/python install --root /program --no-compile --no-deps \
      --no-build-isolation . \
 && python3 -m compileall -q -s /program --invalidation-mode unchecked-hash /program


# ---- The packages that the program needs when it runs: without what has built it, and with the driver of Postgres, which
# only a configuration with `store:` loads.
FROM packages AS needed

RUN python3 -m pip --python /opt/orchestrator/bin/python install --no-compile -r requirements/cluster.txt \
 && python3 -m pip --python /opt/orchestrator/bin/python uninstall --yes setuptools \
 && python3 -m compileall -q --invalidation-mode unchecked-hash /opt/orchestrator


# ---- The same with those of the sandbox, the WhatsApp test server.
FROM packages AS needed-by-demo

RUN python3 -m pip --python /opt/orchestrator/bin/python install --no-compile -r requirements/sandbox.txt \
 && python3 -m pip --python /opt/orchestrator/bin/python uninstall --yes setuptools \
 && python3 -m compileall -q --invalidation-mode unchecked-hash /opt/orchestrator


# ---- What both images have beside the program.
FROM ${BASE} AS base

# tini: reaps what processes leave behind, and passes SIGTERM on. Debian's mirrors keep one version of a package only, so
# a version named here could not be built a month later.
# No pip: nothing is installed later. Python's own modules get their byte code, as above; the image of Python has none.
# hadolint ignore=DL3008
RUN apt-get update \
 && apt-get install --yes --no-install-recommends ca-certificates tini \
 && rm -rf /var/lib/apt/lists/* /var/cache/apt/* /var/cache/ldconfig/aux-cache /var/log/apt /var/log/dpkg.log \
      /var/log/alternatives.log \
 && rm -rf /usr/local/lib/python3.*/site-packages/* /usr/local/lib/python3.*/dist-packages/* \
      /usr/local/lib/python3.*/ensurepip /usr/local/bin/pip* /usr/local/bin/wheel \
 && python3 -c 'import compileall, py_compile, re, sysconfig; \
compileall.compile_dir(sysconfig.get_path("stdlib"), quiet=2, rx=re.compile(r"/(test|tests|idlelib|lib2to3|turtledemo|dist-packages)/"), \
invalidation_mode=py_compile.PycInvalidationMode.UNCHECKED_HASH)' \
 # Root's, and writable for the group of root: a user without a name, as OpenShift gives each project one, is in it.
 && install -d -m 0770 /var/lib/orchestrator \
 && install -d -m 0755 /etc/orchestrator

# The state folder is inside of the volume, whose own folder belongs to root in Kubernetes. Socket and codes are in
# memory: /dev/shm is there in every container, also with a read-only file system, and nobody can rename what is in it.
ENV PATH=/opt/orchestrator/bin:/usr/local/bin:/usr/local/sbin:/usr/sbin:/usr/bin:/sbin:/bin \
    LANG=C.UTF-8 \
    PYTHONDONTWRITEBYTECODE=1 \
    ORCHESTRATOR_CONFIG=/etc/orchestrator/accounts.yaml \
    STATE_DIRECTORY=/var/lib/orchestrator/state \
    RUNTIME_DIRECTORY=/dev/shm/orchestrator
WORKDIR /var/lib/orchestrator
USER 10001:0
STOPSIGNAL SIGTERM
ENTRYPOINT ["/usr/bin/tini", "--", "orchestrator"]


FROM base AS demo

COPY --from=needed-by-demo /opt/orchestrator /opt/orchestrator
COPY --from=program /program/opt/orchestrator /opt/orchestrator
RUN ["orchestrator", "doctor", "--only", "neonize"]
LABEL org.opencontainers.image.title="whatsapp-orchestrator-demo" \
      org.opencontainers.image.description="Shows whatsapp-orchestrator at work, without phones and without internet." \
      org.opencontainers.image.licenses="Apache-2.0"
EXPOSE 8080
CMD ["demo", "--listen", "0.0.0.0:8080"]


# ---- The service: what is built where no target is named.
FROM base AS service

ARG VERSION=""
ARG REVISION=""
COPY --from=needed /opt/orchestrator /opt/orchestrator
COPY --from=program /program/opt/orchestrator /opt/orchestrator
# Compares neonize's files with their checksums once more, and loads its library as the service will.
RUN ["orchestrator", "doctor", "--only", "neonize"]
LABEL org.opencontainers.image.title="whatsapp-orchestrator" \
      org.opencontainers.image.description="Keeps many WhatsApp accounts connected, with one process per account." \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}"
EXPOSE 8080
VOLUME ["/var/lib/orchestrator"]
# Whether the service answers. Accounts do not count: a restart would help none of them.
HEALTHCHECK --interval=30s --timeout=20s --start-period=90s --retries=3 \
  CMD ["orchestrator", "ping"]
CMD ["run"]
