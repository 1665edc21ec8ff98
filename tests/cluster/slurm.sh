#!/usr/bin/env bash
# A real Slurm of one node on this machine, from Debian's packages: root, loopback, no systemd, no cgroups. The node
# pretends to have 32 cores, 64 GB and one GPU, so that what the workflow asks for fits and only the GPU is short.
# usage: slurm.sh install | up DIR | down DIR
set -euo pipefail

packages() {
    command -v slurmctld slurmd munged srun >/dev/null && return
    apt-get update -q
    DEBIAN_FRONTEND=noninteractive apt-get install -q -y --no-install-recommends slurm-wlm munge
}

down() {
    local name pid
    # jobs of tests that were broken off would outlive their daemons
    if [ "$(readlink /etc/slurm/slurm.conf)" = "$1/slurm.conf" ] && timeout 10 scancel --user "$(id -un)"; then
        for _ in $(seq 100); do [ -n "$(timeout 10 squeue -h)" ] || break; sleep 0.1; done
    fi
    for name in slurmd slurmctld munged; do
        [ -s "$1/$name.pid" ] || continue
        pid=$(cat "$1/$name.pid")
        # a file that outlived its process may name another one
        [ "$(cat "/proc/$pid/comm" 2>/dev/null)" = "$name" ] || continue
        kill "$pid"
        for _ in $(seq 100); do [ -d "/proc/$pid" ] || break; sleep 0.1; done
        [ ! -d "/proc/$pid" ] || kill -9 "$pid"
    done
    for name in slurm.conf gres.conf; do
        [ "$(readlink "/etc/slurm/$name")" != "$1/$name" ] || rm "/etc/slurm/$name"
    done
}

up() {
    local dir=$1 host left
    host=$(hostname -s)
    left=$(readlink /etc/slurm/slurm.conf || true)
    if grep -qs '^ClusterName=foveate-test$' /etc/slurm/slurm.conf; then
        down "$(dirname "$left")" # of tests that were killed
    elif [ -e /etc/slurm/slurm.conf ]; then
        echo "/etc/slurm/slurm.conf is there: this machine belongs to a cluster" >&2
        return 1
    fi
    mkdir -p "$dir"/{state,spool,log} /etc/slurm
    (umask 077 && head -c 128 /dev/urandom >"$dir/munge.key")
    # slurmd drops a GPU that has no device file behind it
    [ -c "$dir/nvidia0" ] || mknod "$dir/nvidia0" c 1 3
    cat >"$dir/slurm.conf" <<CONF
ClusterName=foveate-test
SlurmctldHost=$host(127.0.0.1)
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
AuthInfo=socket=$dir/munge.socket
StateSaveLocation=$dir/state
SlurmdSpoolDir=$dir/spool
SlurmctldPidFile=$dir/slurmctld.pid
SlurmdPidFile=$dir/slurmd.pid
SlurmctldLogFile=$dir/log/slurmctld.log
SlurmdLogFile=$dir/log/slurmd.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
MpiDefault=none
SwitchType=switch/none
ReturnToService=2
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
SchedulerParameters=batch_sched_delay=1,sched_interval=2,bf_interval=2
SlurmdParameters=config_overrides
MinJobAge=3600
KillWait=2
GresTypes=gpu
NodeName=$host NodeAddr=127.0.0.1 CPUs=32 Sockets=1 CoresPerSocket=32 ThreadsPerCore=1 RealMemory=64000 Gres=gpu:1
PartitionName=debug Nodes=$host Default=YES MaxTime=INFINITE State=UP
CONF
    printf 'AutoDetect=off\nNodeName=%s Name=gpu File=%s Flags=nvidia_gpu_env\n' "$host" "$dir/nvidia0" >"$dir/gres.conf"
    # the plugin takes SLURM_CONF away within a job, so only the default place is found everywhere
    ln -sf "$dir/slurm.conf" "$dir/gres.conf" /etc/slurm/
    munged --force --key-file="$dir/munge.key" --socket="$dir/munge.socket" --pid-file="$dir/munged.pid" \
        --log-file="$dir/log/munged.log" --seed-file="$dir/munged.seed"
    slurmctld -c
    slurmd
    for _ in $(seq 200); do
        [ "$(sinfo -h -o %t 2>/dev/null)" != idle ] || return 0
        sleep 0.1
    done
    tail -n 20 "$dir"/log/*.log >&2
    return 1
}

case ${1:-} in
install) packages ;;
up)
    mkdir -p "$2"
    up "$(realpath "$2")"
    ;;
down) down "$(realpath "$2")" ;;
*) sed -n 's/^# usage: /usage: /p' "$0" >&2 && exit 2 ;;
esac
