#!/usr/bin/env bash
# A training run on Slurm: a Ray cluster on the nodes of the job, which ends with it. See README.md beside this file.
#   sbatch --nodes 3 --cpus-per-task 8 cluster/slurm.sh DATA [options of distbp train]
#SBATCH --job-name=distbp
#SBATCH --ntasks-per-node=1
#SBATCH --time=01:00:00
#SBATCH --requeue
set -euo pipefail

[ $# -ge 1 ] || { echo "usage: sbatch cluster/slurm.sh DATA [options of distbp train]" >&2; exit 2; }
runs=${DISTBP_RUNS:-$SLURM_SUBMIT_DIR/runs}          # where all nodes see it
run=$runs/slurm-$SLURM_JOB_ID
cpus=${SLURM_CPUS_PER_TASK:-${SLURM_CPUS_ON_NODE:-1}}

# A token of this job's own, which no other user of the nodes can read, and ports of its own on shared nodes.
export RAY_AUTH_MODE=token RAY_USAGE_STATS_ENABLED=0 RAY_worker_niceness=0
mkdir -p "$runs"
token=$(mktemp "$runs/.token-XXXXXX")
chmod 600 "$token"
head -c 32 /dev/urandom | od -An -tx1 | tr -d ' \n' >"$token"
export RAY_AUTH_TOKEN_PATH=$token
port=$((20000 + SLURM_JOB_ID % 20000))
# Short, since sockets lie in it; on each node's own disk, where Ray makes what the head names.
folder=$(mktemp -d /tmp/distbp-XXXXXX)

head_host=$(scontrol show hostnames "$SLURM_JOB_NODELIST" | head -n 1)
head_address=$(srun --nodes=1 --ntasks=1 -w "$head_host" hostname -I | awk '{ print $1 }')

steps=()
end() {
    for step in "${steps[@]}"; do kill "$step" 2>/dev/null || true; done
    wait 2>/dev/null || true
    rm -rf "$token"
    timeout 10 srun --overlap rm -rf "$folder" 2>/dev/null || rm -rf "$folder"
}
trap end EXIT

srun --nodes=1 --ntasks=1 --overlap -w "$head_host" \
    ray start --head --block --node-ip-address "$head_address" --port "$port" --num-cpus "$cpus" \
    --include-dashboard false --temp-dir "$folder" --disable-usage-stats >"$run.ray.log" 2>&1 &
steps+=($!)
for _ in $(seq 60); do
    if (exec 3<>"/dev/tcp/$head_address/$port") 2>/dev/null; then break; fi
    sleep 1
done
others=$((SLURM_JOB_NUM_NODES - 1))
if [ "$others" -gt 0 ]; then
    srun --nodes="$others" --ntasks="$others" --overlap --exclude "$head_host" \
        ray start --block --address "$head_address:$port" --num-cpus "$cpus" >>"$run.ray.log" 2>&1 &
    steps+=($!)
fi

# A job that is requeued goes on from its last checkpoint.
srun --nodes=1 --ntasks=1 --overlap -w "$head_host" \
    python -m distbp train "$@" --address "$head_address:$port" --wait 120 --run-dir "$run" --resume auto
