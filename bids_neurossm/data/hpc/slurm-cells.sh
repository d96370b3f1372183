#!/bin/bash
# One cell of the grid of folds and seeds per task of a SLURM array; works from inside a container too. When the array
# is done, the same command without --only-fold and --only-seed gathers the cells:
#   sbatch --dependency=afterok:JOB --mem=@@MEMORY@@M --wrap="@@COMMAND@@"
#SBATCH --job-name=neurossm-cells
#SBATCH --array=1-@@COUNT@@
#SBATCH --cpus-per-task=1
#SBATCH --mem=@@MEMORY@@M
#SBATCH --time=@@TIME@@
#SBATCH --output=neurossm-cells-%A_%a.log
set -euo pipefail

FOLDS=@@FOLDS@@
FOLD=$(((SLURM_ARRAY_TASK_ID - 1) % FOLDS + 1))
SEED=$(((SLURM_ARRAY_TASK_ID - 1) / FOLDS + 1))
# In a container: COMMAND=(apptainer run --cleanenv --nv -B /data bids-neurossm.sif)
COMMAND=(bids-neurossm)

exec "${COMMAND[@]}" @@ARGUMENTS@@ --only-fold "$FOLD" --only-seed "$SEED" --nprocs 1
