# One image for every LetterTrail service: Airflow's parts, the one-shot set-up, the sandbox.
FROM python:3.12-slim-bookworm AS build
# mysqlclient, which Airflow's MySQL provider requires, comes as source only.
RUN apt-get update \
    && apt-get install -y --no-install-recommends gcc libc6-dev pkg-config libmariadb-dev \
    && rm -rf /var/lib/apt/lists/*
WORKDIR /build
COPY requirements.txt requirements-uv.txt ./
RUN python -m venv /opt/venv \
    && /opt/venv/bin/python -m pip install --no-cache-dir --require-hashes -r requirements-uv.txt \
    && /opt/venv/bin/uv pip install --no-cache --python /opt/venv/bin/python --require-hashes -r requirements.txt

FROM python:3.12-slim-bookworm
RUN apt-get update \
    && apt-get install -y --no-install-recommends libmariadb3 tini \
    && rm -rf /var/lib/apt/lists/* \
    && useradd --uid 50000 --create-home lettertrail \
    && install -d -o lettertrail -g lettertrail /var/lib/lettertrail /var/lib/airflow
COPY --from=build /opt/venv /opt/venv
COPY --chown=lettertrail:lettertrail dags /opt/lettertrail/dags
COPY --chown=lettertrail:lettertrail plugins /opt/lettertrail/plugins
COPY --chown=lettertrail:lettertrail include /opt/lettertrail/include
COPY --chown=lettertrail:lettertrail dbt_project /opt/lettertrail/dbt_project
ENV PATH=/opt/venv/bin:$PATH \
    PYTHONPATH=/opt/lettertrail/include \
    PYTHONUNBUFFERED=1 \
    LETTERTRAIL_STATE_DIR=/var/lib/lettertrail \
    AIRFLOW_HOME=/var/lib/airflow \
    AIRFLOW__CORE__DAGS_FOLDER=/opt/lettertrail/dags \
    AIRFLOW__CORE__PLUGINS_FOLDER=/opt/lettertrail/plugins \
    AIRFLOW__CORE__LOAD_EXAMPLES=False \
    AIRFLOW__USAGE_DATA_COLLECTION__ENABLED=False \
    AIRFLOW__COSMOS__ENABLE_TELEMETRY=False \
    AIRFLOW__COSMOS__CACHE_DIR=/var/lib/airflow/cosmos \
    DBT_SEND_ANONYMOUS_USAGE_STATS=False
USER lettertrail
WORKDIR /opt/lettertrail
ENTRYPOINT ["tini", "--"]
CMD ["airflow", "version"]
