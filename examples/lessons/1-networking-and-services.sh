#!/bin/sh
# Networking and Services: from pod to pod, from pod to Service, from outside; DNS, Ingress, policies; what goes wrong.
bin=${1:-target/release}
. "$(dirname "$0")/lib.sh"
begin networking-and-services

step "Pod to pod: each has an address, and no NAT lies between"
shell a node-1 >/dev/null
whoami b node-2 >/dev/null
ready a >/dev/null
ready b >/dev/null
a=$(field pod/a .status.podIP)
b=$(field pod/b .status.podIP)
claim "A on node 1 pings B on node 2" inside a ping -c 1 -W 2 "$b"
claim "B sees A's own address" equal "$(client_of a "http://$b")" "$a"

step "Pod to Service: http://backend-service:5000"
application backend-service 5000 2 >/dev/null
claim "a front end reaches a back end by its Service" \
  matches "$(answers a http://backend-service:5000)" 'backend-service-*'
backends() { for _ in 1 2 3 4 5 6 7 8 9 10 11 12; do answers a http://backend-service:5000; done | sort -u | wc -l; }
claim "the traffic goes to both of its pods" equal "$(backends | tr -d ' ')" 2
kubectl scale deployment backend-service --replicas=0 >/dev/null
claim "without a pod behind it a Service refuses" refused inside a curl -s --max-time 3 http://backend-service:5000

step "DNS: names instead of addresses"
application auth-service 80 >/dev/null
claim "http://auth-service" matches "$(answers a http://auth-service)" 'auth-service-*'
claim "auth-service.$namespace.svc.cluster.local is its cluster address" \
  says "*$(field service/auth-service .spec.clusterIP)*" \
  inside a nslookup "auth-service.$namespace.svc.cluster.local"

step "The three types of Services"
kubectl create deployment my-app --image=hashicorp/http-echo --port=8080 -- /http-echo -listen=:8080 -text=my-app >/dev/null
kubectl label deployment my-app lesson=1 >/dev/null
kubectl rollout status deployment/my-app --timeout=60s >/dev/null
for type in clusterip nodeport loadbalancer; do
  kubectl apply -f "$(dirname "$0")/../documents/$type-service.yaml"
done
claim "ClusterIP: from inside" inside a curl -sf --max-time 5 http://clusterip-service
claim "ClusterIP: not from outside" \
  refused says '*my-app*' curl -s --connect-timeout 1 --max-time 2 "http://$(field service/clusterip-service .spec.clusterIP)"
node=$(field node/node-1 '.status.addresses[?(@.type=="ExternalIP")].address')
claim "NodePort: from outside at NodeIP:30007" curl -sf --max-time 5 "http://$node:30007"
claim "LoadBalancer: it is given an address" \
  kubectl wait --for=jsonpath='{.status.loadBalancer.ingress[0].ip}' service/loadbalancer-service --timeout=10s
balancer=$(field service/loadbalancer-service '.status.loadBalancer.ingress[0].ip')
printf '         (%s)\n' "$balancer"
if [ "$(cat /proc/sys/net/ipv4/ip_unprivileged_port_start 2>/dev/null || echo 1024)" -le 80 ] || [ "$(id -u)" = 0 ]; then
  claim "LoadBalancer: from outside" curl -sf --max-time 5 "http://$balancer"
fi
claim "LoadBalancer: from inside" inside a curl -sf --max-time 5 "http://$balancer"
claim "the programs' own way to a NodePort" says '*http://*' \
  kube-mini service nodeport-service --name "$cluster" -n "$namespace" --url

step "An Ingress: users get in by /products and /cart, /api and /ui"
application products 80 >/dev/null
application cart 80 >/dev/null
application backend 80 >/dev/null
application frontend 80 >/dev/null
kubectl create ingress shop --rule="shop.local/products*=products:80" --rule="shop.local/cart*=cart:80" \
  --rule="app.local/api*=backend:80" --rule="app.local/ui*=frontend:80"
entry=$(kube-mini up --name "$cluster" | sed -n 's/^Ingress: *\(http:[^ ]*\).*/\1/p')
claim "up tells where the Ingress controller answers: $entry" matches "$entry" 'http://127.0.0.1:*'
routed() { curl -s --max-time 5 -H "Host: $1" "$entry$2" | sed -n 's/^Hostname: //p'; }
leads() { matches "$(routed "$1" "$2")" "$3-*"; }
claim "/products leads to the product service" leads shop.local /products products
claim "/cart leads to the cart" leads shop.local /cart/1 cart
claim "/api leads to the back end" leads app.local /api backend
claim "/ui leads to the front end" leads app.local /ui frontend
claim "what no rule names is not found" \
  equal "$(curl -s -o /dev/null -w '%{http_code}' -H 'Host: nobody.local' "$entry/")" 404

step "A network policy: who may talk to whom"
kubectl apply -f - <<YAML
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: only-a}
spec:
  podSelector: {matchLabels: {app: b}}
  ingress:
  - from: [{podSelector: {matchLabels: {app: a}}}]
YAML
shell c node-3 >/dev/null
ready c >/dev/null
claim "A may" inside a curl -sf --max-time 5 "http://$b"
claim "C waits in vain" refused inside c curl -s --max-time 1 "http://$b"
kubectl delete networkpolicy only-a >/dev/null
claim "without the policy C may, too" inside c curl -sf --max-time 5 "http://$b"

step "Service not accessible? Its selector must match the pods' labels, its targetPort a port"
kubectl patch service cart -p '{"spec":{"selector":{"app":"carts"}}}' >/dev/null
claim "a selector that matches nothing leaves no endpoints" \
  says '*Endpoints:*<none>*' kubectl describe service cart
claim "and nobody answers" refused inside a curl -s --max-time 3 http://cart
kubectl patch service cart -p '{"spec":{"selector":{"app":"cart"}}}' >/dev/null
claim "the right one brings them back" inside a curl -sf --max-time 5 http://cart
kubectl patch service cart -p '{"spec":{"ports":[{"port":80,"targetPort":9999}]}}' >/dev/null
claim "a targetPort that nobody listens at is refused" refused inside a curl -s --max-time 3 http://cart
end
