#!/bin/sh
# Networking fundamentals: each kind of communication of the summary table, in bytes.
bin=${1:-target/release}
. "$(dirname "$0")/lib.sh"
begin networking-fundamentals

step "Containers in the same pod: localhost"
kubectl apply -f - <<YAML
apiVersion: v1
kind: Pod
metadata: {name: pair}
spec:
  terminationGracePeriodSeconds: 0
  containers:
  - {name: nginx, image: nginx}
  - {name: redis, image: redis}
  - {name: tools, image: nicolaka/netshoot, command: [sleep, infinity]}
YAML
ready pair >/dev/null
claim "a neighbour reaches redis at localhost:6379" \
  says '*PONG*' kubectl exec pair -c redis -- redis-cli -h localhost ping
claim "and nginx at localhost:80" kubectl exec pair -c tools -- curl -sf --max-time 5 http://localhost
claim "they have one address" equal \
  "$(kubectl exec pair -c nginx -- hostname -i)" "$(kubectl exec pair -c tools -- hostname -i)"
shell other >/dev/null
ready other >/dev/null
claim "another pod's localhost is its own" refused inside other curl -s --max-time 2 http://localhost

step "Pods on the same node, and on different ones: no NAT"
shell a node-1 >/dev/null
whoami near node-1 >/dev/null
whoami far node-2 >/dev/null
for pod in a near far; do ready $pod >/dev/null; done
a=$(field pod/a .status.podIP)
for pod in near far; do
  ip=$(field pod/$pod .status.podIP)
  claim "$pod answers at its own address" equal "$(answers a "http://$ip")" "$pod"
  claim "$pod sees the client's own address" equal "$(client_of a "http://$ip")" "$a"
done
claim "addresses are unique in the cluster" equal \
  "$(kubectl get pods -A -o 'jsonpath={range .items[?(@.spec.hostNetwork!=true)]}{.status.podIP}{"\n"}{end}' | sort | uniq -d)" ""

step "Node to node: each has a range of pod addresses, known to the others"
claim "three nodes, three ranges" equal \
  "$(kubectl get nodes -o 'jsonpath={range .items[*]}{.spec.podCIDR}{"\n"}{end}' | sort -u | wc -l | tr -d ' ')" 3
claim "the API server reaches the kubelet: logs" says '*whoami*' kubectl get pod far -o yaml
claim "the API server reaches the kubelet: commands" inside a true

step "From outside: NodePort"
application web 80 3 >/dev/null
kubectl patch service web -p '{"spec":{"type":"NodePort"}}' >/dev/null
port=$(field service/web '.spec.ports[0].nodePort')
for n in 1 2 3; do
  node=$(field node/node-$n '.status.addresses[?(@.type=="ExternalIP")].address')
  claim "node-$n opens $port" curl -sf --max-time 5 "http://$node:$port"
done

step "From outside: LoadBalancer"
kubectl expose deployment web --name=balanced --type=LoadBalancer --port=8081 --target-port=80 >/dev/null
kubectl wait --for=jsonpath='{.status.loadBalancer.ingress[0].ip}' service/balanced --timeout=10s >/dev/null
balancer=$(field service/balanced '.status.loadBalancer.ingress[0].ip')
claim "it has an address that answers: $balancer" curl -sf --max-time 5 "http://$balancer:8081"
claim "and a node port behind it" test -n "$(field service/balanced '.spec.ports[0].nodePort')"

step "From outside: Ingress, by host"
application api 80 >/dev/null
application app 80 >/dev/null
kubectl create ingress hosts --rule="api.myapp.local/*=api:80" --rule="app.myapp.local/*=app:80"
entry=$(kube-mini up --name "$cluster" | sed -n 's/^Ingress: *\(http:[^ ]*\).*/\1/p')
leads() { matches "$(curl -s --max-time 5 -H "Host: $1" "$entry/" | sed -n 's/^Hostname: //p')" "$2-*"; }
claim "api.myapp.local leads to api" leads api.myapp.local api
claim "app.myapp.local leads to app" leads app.myapp.local app

step "From outside, to look into something: port-forward"
forwarded=$(mktemp)
kubectl port-forward service/web :80 >"$forwarded" 2>&1 &
forward=$!
trap 'kill $forward 2>/dev/null || true; rm -f "$forwarded"' EXIT
soon grep -q Forwarding "$forwarded"
local_port=$(sed -n 's/^Forwarding from 127.0.0.1:\([0-9]*\).*/\1/p' "$forwarded")
claim "a port of this machine leads to a pod of the Service" curl -sf --max-time 5 "http://127.0.0.1:$local_port"

step "Service to pods: kube-proxy spreads the load"
backends() { for _ in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20; do answers a http://web; done | sort -u | wc -l | tr -d ' '; }
claim "twenty requests reach all three pods" equal "$(backends)" 3

step "DNS"
kubectl expose deployment web --name=my-service --port=80 >/dev/null
claim "my-service.$namespace.svc.cluster.local is its cluster address" says \
  "*$(field service/my-service .spec.clusterIP)*" inside a nslookup "my-service.$namespace.svc.cluster.local"
claim "and leads there" inside a curl -sf --max-time 5 "http://my-service.$namespace.svc.cluster.local"
end
