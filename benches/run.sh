#!/bin/sh
# Measures every figure of README.md. `sh benches/run.sh [FOLDER OF PROGRAMS]`; `make bench` builds and calls it.
# KUBECTL names a real kubectl to compare with; without it, the one on PATH.
set -eu
cd "$(dirname "$0")/.."
programs=${1:-target/release}
cargo=${CARGO:-cargo}

"$programs/kube-mini-bench" --programs "$programs"

printf '\nThe store beside etcd (Debian package etcd-server), durable transactions of 1 KB\n'
$cargo run --quiet --release -p apiserver --example store_bench -- txn

printf '\nNode ports beside direct connections\n'
$cargo run --quiet --release -p cni --example netbench
