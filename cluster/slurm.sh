#!/usr/bin/env bash
# A training run on Slurm, on a Ray cluster that is made of the job's nodes and ends with the job. See README.md.
#   sbatch --nodes 3 --cpus-per-task 8 cluster/slurm.sh DATA [options of distbp train]
#SBATCH --job-name=distbp
#SBATCH --ntasks-per-node=1
#SBATCH --time=01:00:00
#SBATCH --requeue
set -euo pipefail

[ $# -ge 1 ] || { echo "usage: sbatch cluster/slurm.sh DATA [options of distbp train]" >&2; exit 2; }
runs=${DISTBP_RUNS:-$SLURM_SUBMIT_DIR/runs}          # a folder that all nodes share
run=$runs/slurm-$SLURM_JOB_ID
cpus=${SLURM_CPUS_PER_TASK:-${SLURM_CPUS_ON_NODE:-1}}

# To end a job, Slurm sends SIGTERM to all its processes and kills them some seconds later (KillWait, 30 s by default).
# So everything slow runs in the background, and the script waits for it in a way that a signal can interrupt.
token=''
folder=''
steps=()
ended() {  # PID SECONDS: return whether a process of this script ends within this time
    for _ in $(seq $(($2 * 5))); do
        kill -0 "$1" 2>/dev/null || return 0
        sleep 0.2
    done
    return 1
}
finish() {
    trap '' TERM
    rm -f "$token"                                    # first, since the rest may take too long
    for step in "${steps[@]}"; do kill "$step" 2>/dev/null || true; done
    for step in "${steps[@]}"; do ended "$step" 8 || kill -KILL "$step" 2>/dev/null || true; done
    rm -rf "$folder"
}
trap finish EXIT
trap 'exit 143' TERM

# This job's own token, unreadable to other users, and its own port, since jobs may share nodes.
export RAY_AUTH_MODE=token RAY_USAGE_STATS_ENABLED=0 RAY_worker_niceness=0
mkdir -p "$runs"
token=$(mktemp "$runs/.token-XXXXXX")
chmod 600 "$token"
head -c 32 /dev/urandom | od -An -tx1 | tr -d ' \n' >"$token"
export RAY_AUTH_TOKEN_PATH=$token
port=$((20000 + SLURM_JOB_ID % 20000))
# A short path, since Ray puts sockets there, on each node's own disk: all nodes use the path that the head names.
folder=$(mktemp -d /tmp/distbp-XXXXXX)

head_host=$(scontrol show hostnames "$SLURM_JOB_NODELIST" | sed -n 1p)
head_address=$(srun --nodes=1 --ntasks=1 -w "$head_host" hostname -I | awk '{ print $1 }')

# Run Ray on a node until it ends or a signal arrives; then stop it within 5 s and remove its folder.
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
# Ray's port opens before Ray answers, which takes long on a busy node.
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

# A requeued job resumes from its last checkpoint.
srun --nodes=1 --ntasks=1 --overlap -w "$head_host" \
    distbp train "$@" --address "$head_address:$port" --wait 120 --run-dir "$run" --resume auto &
train=$!
stopped=''
trap 'rm -f "$token"; stopped=yes' TERM
code=0
wait "$train" || code=$?
if [ -n "$stopped" ]; then
    # Slurm has already signalled the training, which writes a checkpoint; a second signal would end it without one.
    ended "$train" 15 || kill "$train" 2>/dev/null || true
    ended "$train" 3 || kill -KILL "$train" 2>/dev/null || true
    code=0
    wait "$train" || code=$?
fi
exit "$code"
