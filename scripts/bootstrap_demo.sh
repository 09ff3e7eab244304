#!/bin/sh
# The demonstration in containers, from a clean checkout: passwords, image, model, everything up with generated traffic.
#
# What is there already is kept: .env, and a model in models/active. The same without containers: make demo.
# Sizes follow the variables of docker-compose.yml, for example GENERATOR_CUSTOMERS=50000 scripts/bootstrap_demo.sh
set -eu
cd "$(dirname "$0")/.."

fail() {
    echo "error: $1" >&2
    exit 1
}

command -v docker >/dev/null 2>&1 || fail "docker not found: install Docker Engine, or run without containers: make demo"
docker compose version >/dev/null 2>&1 || fail "docker has no compose plugin (version 2): install docker-compose-plugin"
docker info >/dev/null 2>&1 || fail "the docker daemon does not answer: start it, or add $(id -un) to the group docker"

password() {
    od -An -N18 -tx1 /dev/urandom | tr -d ' \n'
}

if [ ! -e .env ]; then
    (
        umask 077
        printf 'POSTGRES_PASSWORD=%s\nDASHBOARD_PASSWORD=%s\nGRAFANA_PASSWORD=%s\n' \
            "$(password)" "$(password)" "$(password)" >.env
    )
    echo "passwords written to .env"
fi

# Runs a command of the image as whoever calls, who then owns what is written to ./models.
fraudengine() {
    docker compose run --rm --no-deps --user "$(id -u):$(id -g)" --volume "$PWD/models:/made" stream "$@"
}

docker compose build stream
mkdir -p models
if [ ! -e models/active ]; then
    # The 60 days before those that the generator sends: see GENERATOR_SKIP_DAYS.
    fraudengine generate --customers "${GENERATOR_CUSTOMERS:-10000}" --days "${GENERATOR_SKIP_DAYS:-60}" --out /made/history.parquet
    fraudengine train /made/history.parquet --out /made/active
    rm -f models/history.parquet
fi

docker compose --profile demo up --detach --wait

cat <<'END'

dashboard    http://127.0.0.1:8501   (DASHBOARD_PASSWORD in .env)
grafana      http://127.0.0.1:3000   (admin, GRAFANA_PASSWORD in .env)
prometheus   http://127.0.0.1:9090
gRPC         127.0.0.1:50051
kafka        127.0.0.1:9092
alerts       docker compose exec alerts ls /inbox
the end      docker compose --profile demo down             (add --volumes to forget everything)
END
