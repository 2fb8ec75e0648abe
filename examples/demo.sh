#!/bin/sh
# The documents' first example, step by step, on a three-node cluster of its own: `make demo`.
# Runs again and again: what an earlier run left is removed first.
set -eu
bin=${1:-target/release}
PATH=$bin:$PATH
export PATH

step() { printf '\n\033[1m%s\033[0m\n' "$*"; }
run() { printf '$ %s\n' "$*"; "$@"; }
get() { kubectl-mini get "$@"; }

step "A three-node cluster"
run kube-mini up
run kubectl-mini get nodes -o wide

if get deployment nginx >/dev/null 2>&1 || get service nginx >/dev/null 2>&1; then
  step "Removing what an earlier run left"
  run kubectl-mini delete deployment,service nginx --ignore-not-found
  kubectl-mini wait --for=delete pod -l app=nginx --timeout=60s >/dev/null 2>&1 || true
fi

step "1. The API server stores a Deployment"
run kubectl-mini create deployment nginx --image=nginx

step "2. Its controller makes a ReplicaSet, and that one a Pod"
kubectl-mini rollout status deployment/nginx --timeout=60s
run kubectl-mini get deployment,replicaset -l app=nginx

step "3. The scheduler binds the Pod to a node; 4. the pod network gives it an address"
run kubectl-mini get pods -l app=nginx -o wide
pod=$(get pods -l app=nginx -o name | head -n 1)
node=$(get "$pod" -o 'jsonpath={.spec.nodeName}')
ip=$(get "$pod" -o 'jsonpath={.status.podIP}')
echo "   $pod was bound to $node and answers at $ip"

step "5. A Service gets a ClusterIP; 6. and a NodePort on every node"
run kubectl-mini expose deployment nginx --type=NodePort --port=80
run kubectl-mini get service nginx
cluster_ip=$(get service nginx -o 'jsonpath={.spec.clusterIP}')
node_port=$(get service nginx -o 'jsonpath={.spec.ports[0].nodePort}')
kubectl-mini wait --for=jsonpath='{.endpoints[0].conditions.ready}'=true endpointslice \
  -l kubernetes.io/service-name=nginx --timeout=30s >/dev/null
run kubectl-mini get endpointslices -l kubernetes.io/service-name=nginx

step "7. A request from outside takes NodePort -> Service -> Pod"
url=$(kube-mini service nginx --url)
printf '$ curl %s\n' "$url"
curl --silent --show-error --fail --retry 20 --retry-connrefused --retry-delay 0 --max-time 10 "$url" | sed -n '/<title>/p;/<h1>/p'
echo "   $url -> $cluster_ip:80 -> $ip:80 on $node"

cat <<TEXT

Go on typing (put $bin on your PATH):
  kubectl-mini scale deployment nginx --replicas=3      # a pod on every node
  kubectl-mini get pods -o wide -w                      # watch them come
  kubectl-mini exec deploy/nginx -- curl -s http://$cluster_ip
  kubectl-mini logs -f deploy/nginx                     # the requests as nginx sees them
  curl http://127.0.0.1:$node_port                      # the NodePort on localhost
  kube-mini status                                      # the cluster's processes
  kube-mini delete                                      # and all of it is gone
TEXT
