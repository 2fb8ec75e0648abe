#!/bin/sh
# How Kubernetes networking works: the components, their addresses, and what happens when an application is deployed.
bin=${1:-target/release}
. "$(dirname "$0")/lib.sh"
begin how-networking-works

step "The API server receives commands; everybody meets there"
claim "it answers" says '*gitVersion*' kubectl get --raw /version
claim "the scheduler and the controllers hold their leases in it" \
  kubectl-mini --context "$cluster" -n kube-system get lease kube-scheduler kube-controller-manager
claim "each node has a kubelet, which tells that it is ready" \
  kubectl wait --for=condition=Ready node --all --timeout=60s

step "1. kubectl create deployment: the API server validates and stores it"
run kubectl create deployment nginx --image=nginx
claim "what is no Deployment is refused" \
  says '*Invalid value*' kubectl create deployment 'Not A Name' --image=nginx
claim "it is stored, and its controllers have made a ReplicaSet and a Pod of it" \
  kubectl rollout status deployment/nginx --timeout=60s
pod=$(kubectl get pods -l app=nginx -o name)

step "2. The scheduler picks a node, by what is free there"
claim "it wrote the binding and told of it" \
  says '*Successfully assigned*' kubectl get events --field-selector reason=Scheduled
node=$(field "$pod" .spec.nodeName)
kubectl run greedy --image=nginx --overrides='{"spec":{"containers":[{"name":"greedy","image":"nginx","resources":{"requests":{"cpu":"1000"}}}]}}'
claim "a pod that asks for more CPU than any node has stays pending, and says so" \
  says '*Insufficient cpu*' kubectl describe pod greedy

step "3. The kubelet of that node starts it"
claim "$node pulled the image, created the container and started it" \
  says '*Pulled*Created*Started*' kubectl events --for "$pod"
claim "the API server knows its state from there" equal "$(field "$pod" .status.phase)" Running

step "4. The pod network gives it an address"
ip=$(field "$pod" .status.podIP)
claim "an address of the pods' range: $ip" matches "$ip" '10.244.*'
claim "of its node's part of it" \
  equal "$(field "node/$node" .spec.podCIDR | cut -d. -f1-3)" "$(echo "$ip" | cut -d. -f1-3)"
claim "from outside that address does not lead there" \
  refused says '*Welcome to nginx*' curl -s --connect-timeout 1 --max-time 2 "http://$ip"
shell a node-1 >/dev/null
whoami b node-2 >/dev/null
ready a >/dev/null
ready b >/dev/null
b=$(field pod/b .status.podIP)
claim "pods reach each other directly" equal "$(answers a "http://$b")" b
claim "without NAT: the server sees the client's own address" \
  equal "$(client_of a "http://$b")" "$(field pod/a .status.podIP)"

step "5. kubectl expose: a Service with an address that stays"
run kubectl expose deployment nginx --type=NodePort --port=80
service=$(field service/nginx .spec.clusterIP)
second=$(echo "$service" | cut -d. -f2)
claim "an address of the Services' range, 10.96.0.0/12: $service" test "$second" -ge 96 -a "$second" -le 111
claim "which leads to the pod" inside a curl -sf --max-time 5 "http://$service"

step "6. A NodePort, on every node"
port=$(field service/nginx '.spec.ports[0].nodePort')
claim "from 30000 to 32767: $port" test "$port" -ge 30000 -a "$port" -le 32767
for n in 1 2 3; do
  inner=$(field "node/node-$n" '.status.addresses[?(@.type=="InternalIP")].address')
  claim "node-$n answers inside at $inner:$port" inside a curl -sf --max-time 5 "http://$inner:$port"
done

step "7. From outside"
for n in 1 2 3; do
  outer=$(field "node/node-$n" '.status.addresses[?(@.type=="ExternalIP")].address')
  claim "this machine reaches the application at http://$outer:$port" curl -sf --max-time 5 "http://$outer:$port"
done
run kube-mini service nginx --name "$cluster" -n "$namespace" --url
end
