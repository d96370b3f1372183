#!/bin/bash
# One cell of the grid of folds and seeds per task of a SLURM array; works from inside a container too. When the array
# is done, the same command without --only-fold and --only-seed gathers the cells:
#   sbatch --dependency=afterok:JOB --mem=4000M --wrap="bids-neurossm /data/fmriprep /data/neurossm group --target dx --seeds 3 -w /scratch/neurossm"
#SBATCH --job-name=neurossm-cells
#SBATCH --array=1-15
#SBATCH --cpus-per-task=1
#SBATCH --mem=4000M
#SBATCH --time=04:00:00
#SBATCH --output=neurossm-cells-%A_%a.log
set -euo pipefail

FOLDS=5
FOLD=$(((SLURM_ARRAY_TASK_ID - 1) % FOLDS + 1))
SEED=$(((SLURM_ARRAY_TASK_ID - 1) / FOLDS + 1))
# In a container: COMMAND=(apptainer run --cleanenv --nv -B /data bids-neurossm.sif)
COMMAND=(bids-neurossm)

exec "${COMMAND[@]}" /data/fmriprep /data/neurossm group --target dx --seeds 3 -w /scratch/neurossm --only-fold "$FOLD" --only-seed "$SEED" --nprocs 1
