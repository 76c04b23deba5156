#!/usr/bin/env bash
# Kafka with users: formatted once, with the first of them, then run. No password is in a command line.
# Without the image's own scripts, which write logs beside themselves, where nothing can be written.
set -euo pipefail
settings=/secured/server.properties
# shellcheck disable=SC2206 # the options are several words
java=(java ${KAFKA_HEAP_OPTS:-} -Dlog4j2.level=WARN -cp '/opt/kafka/libs/*')
if [ ! -f /var/lib/kafka/data/meta.properties ]; then
  "${java[@]}" kafka.tools.StorageTool format --cluster-id "$("${java[@]}" kafka.tools.StorageTool random-uuid)" \
    --config "$settings" @/secrets/format.args >/dev/null
fi
exec "${java[@]}" kafka.Kafka "$settings"
