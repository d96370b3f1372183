#!/bin/bash
# One participant per task of a SLURM array. All tasks write to the same OUT_DIR; a task that is started again goes on
# where it was stopped.
#SBATCH --job-name=neurossm
#SBATCH --array=1-20
#SBATCH --cpus-per-task=1
#SBATCH --mem=2000M
#SBATCH --time=00:30:00
#SBATCH --output=neurossm-%A_%a.log
set -euo pipefail

LABELS=(
01 02 03 04 05 06 07 08 09 10 11 12 13 14 15 16 17 18 19 20
)
LABEL=${LABELS[SLURM_ARRAY_TASK_ID - 1]}
# In a container: COMMAND=(apptainer run --cleanenv -B /data bids-neurossm.sif)
COMMAND=(bids-neurossm)

exec "${COMMAND[@]}" /data/fmriprep /data/neurossm participant --atlas Schaefer400 -w /scratch/neurossm --participant-label "$LABEL" --nprocs 1
