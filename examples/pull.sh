#!/bin/sh
# Fetches events and acknowledges them, without an open port: TOKEN=orc_… sh pull.sh NAME
# The same events come again until they are acknowledged. NAME is any name: each has its own place.
set -eu
url=${URL:-http://127.0.0.1:8080}/api/consumers/$1

call() { # curl reads the token from its input, where no other user of the machine can see it
    printf 'header = "Authorization: Bearer %s"\n' "$TOKEN" | curl --silent --show-error --fail --config - "$@"
}

while batch=$(call "$url/events?wait=30"); do
    cursor=${batch##*'"cursor":'}
    case $batch in '{"events":[]'*) continue ;; esac
    printf '%s\n' "$batch" # here, do something with the events
    call --header 'Content-Type: application/json' --data "{\"cursor\":$cursor" "$url/ack" >/dev/null
done
exit 1 # the token is wrong, or the service is away: curl has said why
