#!/bin/bash
# One participant per task of a PBS array. All tasks write to the same OUT_DIR; a task that is started again goes on
# where it was stopped.
#PBS -N neurossm
#PBS -J 1-@@COUNT@@
#PBS -l select=1:ncpus=1:mem=@@MEMORY@@mb
#PBS -l walltime=@@TIME@@
#PBS -j oe
#PBS -V
set -euo pipefail
cd "${PBS_O_WORKDIR:-.}"

LABELS=(
@@LABELS@@
)
LABEL=${LABELS[PBS_ARRAY_INDEX - 1]}
# In a container: COMMAND=(apptainer run --cleanenv -B /data bids-neurossm.sif)
COMMAND=(bids-neurossm)

exec "${COMMAND[@]}" @@ARGUMENTS@@ --participant-label "$LABEL" --nprocs 1
