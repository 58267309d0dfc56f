#!/usr/bin/env bash
# sbatch bench/cluster/slurm_array.sh sweep.yaml /shared/sweeps/a
# Add --gpus-per-task=1 for GPUs. A task that is preempted is queued again and goes on where it was.
#SBATCH --job-name=jleak-sweep
#SBATCH --array=0-31
#SBATCH --cpus-per-task=8
#SBATCH --mem=16G
#SBATCH --time=04:00:00
#SBATCH --requeue
set -euo pipefail
jleak sweep run "$1" --out "$2" --shard "$SLURM_ARRAY_TASK_ID/$SLURM_ARRAY_TASK_COUNT"
