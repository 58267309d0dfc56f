#!/usr/bin/env bash
# bench/cluster/ray_cluster.sh sweep.yaml /shared/sweeps/a [GPUs of a task]
# On the head of a running Ray cluster whose machines hold "jleak[ray]".
set -euo pipefail
jleak sweep run "$1" --out "$2" --engine ray --address auto --gpus "${3:-0}"
