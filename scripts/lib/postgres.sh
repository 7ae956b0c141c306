# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash
#
# A throw-away PostgreSQL cluster: own folder, own port, own unprivileged user; sourced by quickstart and bench.
# Nothing of a system-wide PostgreSQL is touched.

# postgres_binaries: prints the folder of the newest server on this machine.
postgres_binaries() {
    local newest
    newest=$(find /usr/lib/postgresql -mindepth 3 -maxdepth 3 -path '*/bin/initdb' 2>/dev/null | sort -V | tail -n 1)
    if [[ -z $newest ]]; then
        echo "error: no PostgreSQL server found below /usr/lib/postgresql" >&2
        echo "hint: Run scripts/setup." >&2
        return 1
    fi
    dirname "$newest"
}

# free_port: prints a TCP port of the loopback address nobody listens on.
free_port() {
    python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'
}

# as_postgres COMMAND...: runs it unprivileged, because the server refuses to run as root. Debian's packages create the
# user `postgres`; `nobody` does where that is missing.
as_postgres() {
    if [[ $(id -u) -ne 0 ]]; then
        "$@"
        return
    fi
    local user=postgres
    id -u "$user" >/dev/null 2>&1 || user=nobody
    setpriv --reuid="$user" --regid="$(id -g "$user")" --clear-groups env HOME=/nonexistent LC_ALL=C.UTF-8 "$@"
}

# postgres_start FOLDER SUPERUSER PASSWORD_FILE [SERVER_OPTION...]: makes and starts a cluster in FOLDER/data that
# listens on 127.0.0.1 only; passwords are checked. Sets POSTGRES_PORT. Socket and log lie in FOLDER as well.
postgres_start() {
    local folder=$1 superuser=$2 password_file=$3 binaries option options attempt owner=
    shift 3
    binaries=$(postgres_binaries) || return 1
    if [[ $(id -u) -eq 0 ]]; then
        owner=$(as_postgres id -u):$(as_postgres id -g)
    fi
    mkdir -p "$folder"
    chmod 700 "$folder"
    # initdb reads the password as the unprivileged user: give that user a copy of its own, gone a moment later.
    (umask 077 && cp "$password_file" "$folder/password")
    [[ -z $owner ]] || chown -R "$owner" "$folder"
    as_postgres "$binaries/initdb" -D "$folder/data" -U "$superuser" -E UTF8 --locale=C.UTF-8 \
        --auth=scram-sha-256 --pwfile="$folder/password" --no-sync >"$folder/initdb.log" 2>&1 || {
        cat "$folder/initdb.log" >&2
        return 1
    }
    rm -f "$folder/password"
    for attempt in 1 2 3; do
        # Another process may take the port between the question and the start: ask again.
        POSTGRES_PORT=$(free_port)
        options="-p $POSTGRES_PORT -k $folder -c listen_addresses=127.0.0.1"
        for option in "$@"; do options+=" -c $option"; done
        if as_postgres "$binaries/pg_ctl" -D "$folder/data" -w -t 60 -s -l "$folder/log" -o "$options" start; then
            return 0
        fi
        echo "PostgreSQL did not start on port $POSTGRES_PORT (attempt $attempt of 3)" >&2
    done
    cat "$folder/log" >&2
    return 1
}

# postgres_stop FOLDER: ends the cluster of postgres_start; silent when it does not run.
postgres_stop() {
    local folder=$1 binaries
    [[ -f $folder/data/postmaster.pid ]] || return 0
    binaries=$(postgres_binaries) || return 1
    as_postgres "$binaries/pg_ctl" -D "$folder/data" -m fast -w -t 60 -s stop
}
