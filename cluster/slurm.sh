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

# Slurm ends a job with SIGTERM to all of its processes, and kills it some seconds later (KillWait, 30 s by default).
# So whatever takes long here runs beside the script, which waits for it and can be called away.
token=''
folder=''
steps=()
ended() {  # whether a process of this script ends within so many seconds: PID SECONDS
    for _ in $(seq $(($2 * 5))); do
        kill -0 "$1" 2>/dev/null || return 0
        sleep 0.2
    done
    return 1
}
finish() {
    trap '' TERM
    rm -f "$token"                                    # before anything that may take too long
    for step in "${steps[@]}"; do kill "$step" 2>/dev/null || true; done
    for step in "${steps[@]}"; do ended "$step" 8 || kill -KILL "$step" 2>/dev/null || true; done
    rm -rf "$folder"
}
trap finish EXIT
trap 'exit 143' TERM

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

head_host=$(scontrol show hostnames "$SLURM_JOB_NODELIST" | sed -n 1p)
head_address=$(srun --nodes=1 --ntasks=1 -w "$head_host" hostname -I | awk '{ print $1 }')

# On each node: Ray, until it ends or is told to; then 5 s more, and its folder goes with it.
on_a_node='
    folder=$1; shift
    trap : TERM
    "$@" & ray=$!
    wait "$ray"
    kill "$ray" 2>/dev/null
    for _ in $(seq 25); do kill -0 "$ray" 2>/dev/null || break; sleep 0.2; done
    kill -KILL "$ray" 2>/dev/null
    rm -rf "$folder"
'
srun --nodes=1 --ntasks=1 --overlap -w "$head_host" bash -c "$on_a_node" ray "$folder" \
    ray start --head --block --node-ip-address "$head_address" --port "$port" --num-cpus "$cpus" \
    --include-dashboard false --temp-dir "$folder" --disable-usage-stats >"$run.ray.log" 2>&1 &
steps+=($!)
# Its port is open before it answers, which takes long on a busy node.
answers() {
    local until=$((SECONDS + 300))
    while kill -0 "${steps[0]}" 2>/dev/null && [ $SECONDS -lt $until ]; do
        if timeout 60 ray health-check --address "$head_address:$port" >/dev/null 2>&1; then return 0; fi
        sleep 1
    done
    return 1
}
answers &
steps+=($!)
if ! wait $!; then
    echo "Ray does not answer at $head_address:$port: see $run.ray.log" >&2
    exit 1
fi
unset 'steps[1]'
others=$((SLURM_JOB_NUM_NODES - 1))
if [ "$others" -gt 0 ]; then
    srun --nodes="$others" --ntasks="$others" --overlap --exclude "$head_host" bash -c "$on_a_node" ray "$folder" \
        ray start --block --address "$head_address:$port" --num-cpus "$cpus" >>"$run.ray.log" 2>&1 &
    steps+=($!)
fi

# A job that is requeued goes on from its last checkpoint.
srun --nodes=1 --ntasks=1 --overlap -w "$head_host" \
    distbp train "$@" --address "$head_address:$port" --wait 120 --run-dir "$run" --resume auto &
train=$!
stopped=''
trap 'rm -f "$token"; stopped=yes' TERM
code=0
wait "$train" || code=$?
if [ -n "$stopped" ]; then
    # Slurm told the training itself, which keeps a checkpoint; a second signal would end it without one.
    ended "$train" 15 || kill "$train" 2>/dev/null || true
    ended "$train" 3 || kill -KILL "$train" 2>/dev/null || true
    code=0
    wait "$train" || code=$?
fi
exit "$code"
