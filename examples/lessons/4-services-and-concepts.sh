#!/bin/sh
# Services and concepts: pods come and go, Deployments keep them, Services stand before them.
bin=${1:-target/release}
. "$(dirname "$0")/lib.sh"
begin services-and-concepts
documents=$(dirname "$0")/../documents

step "Pods are ephemeral"
whoami alone >/dev/null
ready alone >/dev/null
before=$(field pod/alone .status.podIP)
kubectl delete pod alone --wait >/dev/null
whoami between >/dev/null
whoami alone >/dev/null
ready alone >/dev/null
claim "a pod made anew has another address: $before, then $(field pod/alone .status.podIP)" \
  differ "$before" "$(field pod/alone .status.podIP)"

step "Deployments keep so many of them"
run kubectl apply -f "$documents/web-deployment.yaml"
kubectl rollout status deployment/web-deployment --timeout=60s >/dev/null
claim "three pods with the label app=web" equal "$(kubectl get pods -l app=web -o name | wc -l | tr -d ' ')" 3
kubectl delete "$(kubectl get pods -l app=web -o name | head -n 1)" --wait >/dev/null
claim "one that is deleted is replaced" kubectl wait deployment/web-deployment \
  --for=jsonpath='{.status.readyReplicas}'=3 --timeout=30s
kubectl scale deployment web-deployment --replicas=5 >/dev/null
claim "scaling" kubectl rollout status deployment/web-deployment --timeout=60s
kubectl scale deployment web-deployment --replicas=3 >/dev/null
kubectl set image deployment/web-deployment nginx=nginx:1.29 >/dev/null
claim "a rolling update" kubectl rollout status deployment/web-deployment --timeout=60s
claim "which leaves a history" says '*1*2*' kubectl rollout history deployment/web-deployment
claim "and can be undone" kubectl rollout undo deployment/web-deployment
kubectl rollout status deployment/web-deployment --timeout=60s >/dev/null

step "ClusterIP: inside"
run kubectl apply -f "$documents/web-clusterip.yaml"
shell client >/dev/null
ready client >/dev/null
claim "the pods' welcome, by the Service's name" says '*Welcome to nginx*' inside client curl -s --max-time 5 http://web-clusterip
stable=$(field service/web-clusterip .spec.clusterIP)
kubectl rollout restart deployment/web-deployment >/dev/null
kubectl rollout status deployment/web-deployment --timeout=60s >/dev/null
claim "all pods are new, the address is the same" equal "$stable" "$(field service/web-clusterip .spec.clusterIP)"
claim "and answers" inside client curl -sf --max-time 5 "http://$stable"

step "NodePort: from outside, on all nodes"
run kubectl apply -f "$documents/web-nodeport.yaml"
for n in 1 2 3; do
  node=$(field node/node-$n '.status.addresses[?(@.type=="ExternalIP")].address')
  claim "node-$n:30080" says '*Welcome to nginx*' curl -s --max-time 5 "http://$node:30080"
done
claim "a port beyond 30000 to 32767 is refused" says '*provided port is not in the valid range*' \
  kubectl create service nodeport beyond --tcp=80 --node-port=1000

step "LoadBalancer: an address of its own"
run kubectl apply -f "$documents/web-loadbalancer.yaml"
claim "it is given one" kubectl wait --for=jsonpath='{.status.loadBalancer.ingress[0].ip}' \
  service/web-loadbalancer --timeout=10s
claim "which leads to the pods" says '*Welcome to nginx*' inside client curl -s --max-time 5 \
  "http://$(field service/web-loadbalancer '.status.loadBalancer.ingress[0].ip')"
claim "a node port lies behind it" test -n "$(field service/web-loadbalancer '.spec.ports[0].nodePort')"

step "The same in two namespaces, dev and prod"
for team in dev prod; do
  kubectl-mini --context "$cluster" create namespace "$namespace-$team" --dry-run=client -o yaml | kubectl-mini --context "$cluster" apply -f - >/dev/null
  kubectl-mini --context "$cluster" -n "$namespace-$team" apply -f "$documents/web-deployment.yaml" >/dev/null
  claim "$team has a web-deployment of its own" \
    kubectl-mini --context "$cluster" -n "$namespace-$team" rollout status deployment/web-deployment --timeout=60s
done
for team in dev prod; do
  kubectl-mini --context "$cluster" delete namespace "$namespace-$team" --timeout=60s >/dev/null
done

step "The parts of the cluster"
parts=$(kube-mini status --name "$cluster")
for part in kube-apiserver kube-scheduler kube-controller-manager kubelet-node-1 kube-proxy-node-1 kubelet-node-2 kube-proxy-node-2; do
  claim "$part runs" matches "$parts" "*$part*"
done
end
