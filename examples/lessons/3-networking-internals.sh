#!/bin/sh
# Networking internals: what lies behind a Service, and how to look at it.
bin=${1:-target/release}
. "$(dirname "$0")/lib.sh"
begin networking-internals

step "1. Containers of a pod share its network"
kubectl apply -f - <<YAML
apiVersion: v1
kind: Pod
metadata: {name: two}
spec:
  terminationGracePeriodSeconds: 0
  containers:
  - {name: server, image: traefik/whoami}
  - {name: client, image: curlimages/curl, command: [sleep, infinity]}
YAML
ready two >/dev/null
claim "localhost is the same for both" kubectl exec two -c client -- curl -sf --max-time 5 http://localhost
claim "a port can be taken once: a second server on port 80 cannot start" says '*Address already in use*' \
  kubectl exec two -c client -- nc -l 80

step "2. and 3. Pods of one node and of two"
shell a node-1 >/dev/null
whoami near node-1 >/dev/null
whoami far node-3 >/dev/null
for pod in a near far; do ready $pod >/dev/null; done
for pod in near far; do
  claim "a reaches $pod by its address" equal "$(answers a "http://$(field pod/$pod .status.podIP)")" $pod
done

step "4. Pods and Services"
application web 80 2 >/dev/null
run kubectl get svc
run kubectl describe svc web
claim "describe tells selector, address, port and endpoints" says \
  '*Selector:*app=web*IP:*10.*Port:*80/TCP*Endpoints:*10.244.*:80*' kubectl describe svc web
endpoints() { kubectl get endpointslices -l kubernetes.io/service-name=web -o 'jsonpath={range .items[*].endpoints[*]}{.addresses[0]}{"\n"}{end}'; }
pods() { kubectl get pods -l app=web --field-selector status.phase=Running -o 'jsonpath={range .items[*]}{.status.podIP}{"\n"}{end}'; }
same() { [ "$(endpoints | sort)" = "$(pods | sort)" ]; }
claim "its endpoints are the pods that its selector matches" same
kubectl scale deployment web --replicas=4 >/dev/null
kubectl rollout status deployment/web --timeout=60s >/dev/null
claim "and follow them: four now" equal "$(endpoints | wc -l | tr -d ' ')" 4
claim "they are the same again" same
kubectl scale deployment web --replicas=1 >/dev/null
one() { [ "$(endpoints | wc -l | tr -d ' ')" = 1 ] && same; }
claim "and one after that" one
claim "which still answers" inside a curl -sf --max-time 5 http://web

step "Namespaces and labels keep things apart"
kubectl-mini --context "$cluster" create namespace "$namespace-other" --dry-run=client -o yaml | kubectl-mini --context "$cluster" apply -f - >/dev/null
kubectl-mini --context "$cluster" -n "$namespace-other" run stranger --image=traefik/whoami --labels=app=web >/dev/null
kubectl-mini --context "$cluster" -n "$namespace-other" wait --for=condition=Ready pod/stranger --timeout=60s >/dev/null
claim "a pod of the same label in another namespace is no endpoint" one
kubectl label pod near app=web --overwrite >/dev/null
claim "a pod of this namespace that gets the label is" equal "$(sleep 1; endpoints | wc -l | tr -d ' ')" 2
claim "a name of another namespace is spelled out" \
  says '*NXDOMAIN*' inside a nslookup web."$namespace-other"
kubectl-mini --context "$cluster" delete namespace "$namespace-other" --timeout=60s >/dev/null

step "CoreDNS maps names to addresses"
claim "the pods' name server is the cluster's" says '*nameserver 10.96.0.10*' inside a cat /etc/resolv.conf
claim "web is the Service's address" says "*$(field service/web .spec.clusterIP)*" inside a nslookup web
kubectl delete service web >/dev/null
claim "a Service that is gone has no name" says '*NXDOMAIN*' inside a nslookup web
end
