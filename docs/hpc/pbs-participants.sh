#!/bin/bash
# One participant per task of a PBS array. All tasks write to the same OUT_DIR; a task that is started again goes on
# where it was stopped.
#PBS -N neurossm
#PBS -J 1-20
#PBS -l select=1:ncpus=1:mem=2000mb
#PBS -l walltime=00:30:00
#PBS -j oe
#PBS -V
set -euo pipefail
cd "${PBS_O_WORKDIR:-.}"

LABELS=(
01 02 03 04 05 06 07 08 09 10 11 12 13 14 15 16 17 18 19 20
)
LABEL=${LABELS[PBS_ARRAY_INDEX - 1]}
# In a container: COMMAND=(apptainer run --cleanenv -B /data bids-neurossm.sif)
COMMAND=(bids-neurossm)

exec "${COMMAND[@]}" /data/fmriprep /data/neurossm participant --atlas Schaefer400 -w /scratch/neurossm --participant-label "$LABEL" --nprocs 1
