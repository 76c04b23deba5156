#!/bin/sh
# Healthy: the part has got on within the last 15 seconds (edgewise/alive.py). No Python is started for it.
age=$(($(date +%s) - $(stat -c %Y "$EDGEWISE_ALIVE"))) && [ "$age" -le 15 ]
