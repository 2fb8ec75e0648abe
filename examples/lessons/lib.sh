# What the lessons share; read by each of them: `. lib.sh NAMESPACE`.
#
# A lesson walks through the story of one text, on a cluster of its own (`lessons`), in a namespace of its own, and checks
# each claim of it. It ends with 1 if a claim does not hold. `sh 1-services.sh [FOLDER OF THE PROGRAMS]`.
set -eu

case $bin in /*) ;; *) bin=$PWD/$bin ;; esac
PATH=$bin:$PATH
export PATH
cluster=${LESSONS_CLUSTER:-lessons}
failed=0

# Commands as they are typed; the context and the namespace go without saying.
kubectl() { kubectl-mini --context "$cluster" --namespace "$namespace" "$@"; }

# This machine's own addresses, whatever proxy its user has.
curl() { command curl --noproxy '*' "$@"; }

step() { printf '\n\033[1m%s\033[0m\n' "$*"; }

run() {
  printf '$ %s\n' "$*"
  "$@"
}

# claim TEXT COMMAND…: the command must succeed, at once or within ten seconds: what follows a change follows it soon.
claim() {
  text=$1
  shift
  if soon "$@"; then
    printf '  \033[32mholds\033[0m  %s\n' "$text"
  else
    printf '  \033[31mFAILS\033[0m  %s\n         %s\n' "$text" "$*"
    failed=$((failed + 1))
  fi
}

soon() {
  tries=100
  while ! "$@" >/dev/null 2>&1; do
    tries=$((tries - 1))
    [ "$tries" -gt 0 ] || return 1
    sleep 0.1
  done
}

# Succeeds if the command fails.
refused() { ! "$@"; }

# equal A B, matches TEXT PATTERN (of `case`), differ A B
equal() { [ "$1" = "$2" ]; }
differ() { [ -n "$1" ] && [ -n "$2" ] && [ "$1" != "$2" ]; }
matches() {
  # shellcheck disable=SC2254
  case $1 in $2) ;; *) return 1 ;; esac
}

# field OBJECT JSONPATH
field() { kubectl get "$1" -o "jsonpath={$2}"; }

# says PATTERN COMMAND…: what it prints matches.
says() {
  pattern=$1
  shift
  matches "$("$@" 2>&1)" "$pattern"
}

# inside POD COMMAND…
inside() {
  pod=$1
  shift
  kubectl exec "$pod" -- "$@"
}

# A pod with a shell, on a node; or wherever the scheduler likes.
shell() {
  kubectl apply -f - <<YAML
apiVersion: v1
kind: Pod
metadata: {name: $1, labels: {app: $1}}
spec:
  ${2:+nodeName: $2}
  terminationGracePeriodSeconds: 0
  containers:
  - {name: shell, image: nicolaka/netshoot, command: [sleep, infinity]}
YAML
}

# A pod that tells who asks and who answers, on a node.
whoami() {
  kubectl apply -f - <<YAML
apiVersion: v1
kind: Pod
metadata: {name: $1, labels: {app: $1}}
spec:
  ${2:+nodeName: $2}
  terminationGracePeriodSeconds: 0
  containers:
  - {name: whoami, image: traefik/whoami, ports: [{containerPort: 80}]}
YAML
}

# A Deployment of it with a Service of its name before it: application NAME PORT [REPLICAS]
application() {
  kubectl create deployment "$1" --image=traefik/whoami --port=80 --replicas="${3:-1}"
  kubectl expose deployment "$1" --port="$2" --target-port=80
  kubectl rollout status "deployment/$1" --timeout=60s
}

ready() { kubectl wait --for=condition=Ready "pod/$1" --timeout=60s; }

# The host name of whoever answers at a URL, asked from a pod.
answers() { inside "$1" curl -s --max-time 5 "$2" | sed -n 's/^Hostname: //p'; }

# The address that the answering server saw its client come from.
client_of() { inside "$1" curl -s --max-time 5 "$2" | sed -n 's/^RemoteAddr: \(.*\):.*/\1/p'; }

begin() {
  namespace=$1
  step "A cluster of three nodes for the lessons"
  run kube-mini up --name "$cluster"
  # What an earlier run left goes first.
  kubectl-mini --context "$cluster" delete namespace "$namespace" --ignore-not-found --timeout=60s >/dev/null
  kubectl-mini --context "$cluster" create namespace "$namespace" >/dev/null
}

end() {
  kubectl-mini --context "$cluster" delete namespace "$namespace" --timeout=60s >/dev/null
  if [ "$failed" -gt 0 ]; then
    printf '\n%s claims do not hold.\n' "$failed"
    exit 1
  fi
  printf '\nEvery claim holds. The cluster stays for the next lesson; kube-mini delete --name %s removes it.\n' "$cluster"
}
