#!/usr/bin/env bash
# bench/cluster/tpu_pod.sh NAME ZONE sweep.yaml gs://BUCKET/sweeps/a
# Every host of the slice runs the same command; JAX tells each which it is.
set -euo pipefail
gcloud compute tpus tpu-vm scp "$3" "$1:sweep.yaml" --zone="$2" --worker=all
gcloud compute tpus tpu-vm ssh "$1" --zone="$2" --worker=all \
  --command="pip install -q 'jleak[tpu]' gcsfs && jleak sweep run sweep.yaml --out $4 --distributed"
