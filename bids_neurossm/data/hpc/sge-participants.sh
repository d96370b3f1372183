#!/bin/bash
# One participant per task of a Grid Engine array. All tasks write to the same OUT_DIR; a task that is started again
# goes on where it was stopped.
#$ -N neurossm
#$ -t 1-@@COUNT@@
#$ -l h_vmem=@@MEMORY@@M
#$ -l h_rt=@@TIME@@
#$ -cwd
#$ -V
#$ -j y
#$ -S /bin/bash
set -euo pipefail

LABELS=(
@@LABELS@@
)
LABEL=${LABELS[SGE_TASK_ID - 1]}
# In a container: COMMAND=(apptainer run --cleanenv -B /data bids-neurossm.sif)
COMMAND=(bids-neurossm)

exec "${COMMAND[@]}" @@ARGUMENTS@@ --participant-label "$LABEL" --nprocs 1
