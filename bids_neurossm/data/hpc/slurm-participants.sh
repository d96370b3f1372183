#!/bin/bash
# One participant per task of a SLURM array. All tasks write to the same OUT_DIR; a task that is started again goes on
# where it was stopped.
#SBATCH --job-name=neurossm
#SBATCH --array=1-@@COUNT@@
#SBATCH --cpus-per-task=1
#SBATCH --mem=@@MEMORY@@M
#SBATCH --time=@@TIME@@
#SBATCH --output=neurossm-%A_%a.log
set -euo pipefail

LABELS=(
@@LABELS@@
)
LABEL=${LABELS[SLURM_ARRAY_TASK_ID - 1]}
# In a container: COMMAND=(apptainer run --cleanenv -B /data bids-neurossm.sif)
COMMAND=(bids-neurossm)

exec "${COMMAND[@]}" @@ARGUMENTS@@ --participant-label "$LABEL" --nprocs 1
