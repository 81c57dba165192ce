# shellcheck shell=bash
# What the k3s scripts share. It is sourced, not run, after scripts/prerequisites.sh.
# Tools that check manifests are installed below target/tools; tools that change anything outside are only looked for.

NAMESPACE=boxoffice
PROGRAMS=(auth tickets orders expiration payments web stripe-fake boxoffice)
SERVICES=(auth tickets orders expiration payments)
export NAMESPACE PROGRAMS SERVICES

# With --dry-run every command that would change something is printed instead.
DRY_RUN=${DRY_RUN:-no}
act() {
    if [ "$DRY_RUN" = yes ]; then
        printf '%q ' "$@" | sed 's/ $//; s/^/would run: /'
        printf '\n'
    else
        "$@"
    fi
}

# Leaves a kubectl of 1.27 or newer (its kustomize must know components and replacements) in BOXOFFICE_KUBECTL.
need_kubectl() {
    local candidate
    for candidate in "${BOXOFFICE_KUBECTL:-}" kubectl; do
        # -P: the program, not the function below.
        if [ -n "$candidate" ] && type -P "$candidate" >/dev/null; then
            BOXOFFICE_KUBECTL=$(type -P "$candidate")
            break
        fi
        BOXOFFICE_KUBECTL=
    done
    if [ -z "$BOXOFFICE_KUBECTL" ] && command -v k3s >/dev/null; then
        # k3s is its own kubectl, but only when it is called so.
        mkdir -p "$TARGET_DIR/tools"
        ln -sf "$(command -v k3s)" "$TARGET_DIR/tools/kubectl"
        BOXOFFICE_KUBECTL="$TARGET_DIR/tools/kubectl"
    fi
    [ -n "$BOXOFFICE_KUBECTL" ] \
        || fail "kubectl is missing. k3s brings it (k3s kubectl); else install it (kubernetes.io/docs/tasks/tools) and run this again."
    local version
    version=$("$BOXOFFICE_KUBECTL" version --client 2>/dev/null | sed -n 's/^Client Version: v\([0-9]*\.[0-9]*\).*/\1/p')
    [ "$(printf '1.27\n%s\n' "${version:-0}" | sort -V | head -n 1)" = 1.27 ] \
        || fail "kubectl 1.27 or newer is needed, ${version:-an unknown version} is at $BOXOFFICE_KUBECTL. Install a newer one and run this again."
    export BOXOFFICE_KUBECTL
}

kubectl() { "$BOXOFFICE_KUBECTL" "$@"; }

# Whether a cluster answers, and that it is the one that is meant.
need_cluster() {
    if [ -z "${KUBECONFIG:-}" ] && [ ! -e "$HOME/.kube/config" ] && [ -r /etc/rancher/k3s/k3s.yaml ]; then
        export KUBECONFIG=/etc/rancher/k3s/k3s.yaml
    fi
    local said version
    said=$(kubectl version --request-timeout=10s 2>/dev/null) \
        || fail "No cluster answers. Start k3s (systemctl start k3s), or name another cluster in KUBECONFIG, and run this again."
    # A preStop that sleeps, without a shell in the image, is understood since then.
    version=$(printf '%s\n' "$said" | sed -n 's/^Server Version: v\([0-9]*\.[0-9]*\).*/\1/p')
    [ "$(printf '1.30\n%s\n' "${version:-1.30}" | sort -V | head -n 1)" = 1.30 ] \
        || fail "The cluster is Kubernetes $version; 1.30 or newer is needed. Upgrade it and run this again."
}

# What the tests of the manifests call.
need_manifest_tools() {
    need_kubectl
    need_python_tool BOXOFFICE_KUBERNETES_VALIDATE kubernetes-validate 1.37.0
    need_python_tool BOXOFFICE_CHECKOV checkov 3.3.30
    need_python_tool BOXOFFICE_YAMLLINT yamllint 1.37.1
    command -v "${BOXOFFICE_PROMTOOL:-promtool}" >/dev/null || install_packages prometheus \
        || fail "promtool is missing: it checks the alert rules. Install it (Debian: apt-get install prometheus) and run this again."
}

# What runs the images in the tests: a container runtime with its default seccomp profile, namespaces, a firewall, and nginx in
# the place of the ingress controller. It takes root.
need_container_tools() {
    local missing=()
    command -v runc >/dev/null || missing+=(runc)
    command -v nft >/dev/null || missing+=(nftables)
    command -v ip >/dev/null || missing+=(iproute2)
    command -v nginx >/dev/null || missing+=(nginx-light)
    command -v curl >/dev/null || missing+=(curl)
    [ -e /usr/share/containers/seccomp.json ] || missing+=(golang-github-containers-common)
    # ss and readelf, with which the tests look into sockets and programs.
    command -v ss >/dev/null || missing+=(iproute2)
    command -v readelf >/dev/null || missing+=(binutils)
    [ ${#missing[@]} -eq 0 ] || install_packages "${missing[@]}" \
        || fail "${missing[*]} can't be installed: they run the images. Install them and run this again."
}

# Whether containers can run here at all: root, and namespaces of one's own. Asked before anything is installed.
need_containers() {
    [ "$(id -u)" -eq 0 ] || fail "Running the images takes root: network namespaces and a container runtime. Run this as root."
    command -v ip >/dev/null || install_packages iproute2 \
        || fail "ip is missing: it makes the network. Install it (Debian: apt-get install iproute2) and run this again."
    local probe="boxoffice-probe-$$"
    { ip netns add "$probe" && ip netns delete "$probe"; } 2>/dev/null \
        || fail "Network namespaces can't be made here (a container without privileges, perhaps). Run this on a machine where root may."
    [ -w /sys/fs/cgroup ] || fail "No memory can be limited here: /sys/fs/cgroup is not writable. Run this on a machine where it is."
}

# A program of a Python package, installed into a folder of its own where it is missing. $1 names the variable that says where.
need_python_tool() {
    local variable=$1 package=$2 version=$3 folder="$TARGET_DIR/tools/$2"
    [ -n "${!variable:-}" ] && return
    if [ "$(cat "$folder/.installed" 2>/dev/null)" != "$version" ]; then
        command -v python3 >/dev/null || install_packages python3 python3-venv \
            || fail "python3 is missing: $package comes with it. Install it (Debian: apt-get install python3-venv) and run this again."
        say "installing $package $version (pip)"
        rm -rf "$folder"
        { python3 -m venv "$folder" && "$folder/bin/pip" install --quiet --disable-pip-version-check "$package==$version"; } >/dev/null \
            || fail "$package can't be installed by pip. Name one of yours in $variable and run this again."
        printf '%s\n' "$version" > "$folder/.installed"
    fi
    export "$variable=$folder/bin/$package"
}

# Leaves buildah, podman or docker, the first that works, in BUILDER.
need_builder() {
    for BUILDER in ${BOXOFFICE_BUILDER:-buildah podman docker}; do
        case $BUILDER in
            docker) docker info >/dev/null 2>&1 && return ;;
            *) command -v "$BUILDER" >/dev/null && return ;;
        esac
    done
    if install_packages buildah; then
        BUILDER=buildah
        return
    fi
    fail "Nothing that builds images is here. Install buildah, podman or docker (Debian: apt-get install buildah) and run this again."
}

# What pushes the archives of images to a registry.
need_skopeo() {
    command -v skopeo >/dev/null || install_packages skopeo \
        || fail "skopeo is missing: it pushes the images to the registry. Install it (Debian: apt-get install skopeo), log in (skopeo login HOST), and run this again."
}

# The name of everything that images are made of: the same sources give the same tag, and other sources another one. Programs that
# are not built as those that ship never go by the name of those.
source_tag() {
    local version profile=${PROFILE:-release}
    version=$(sed -n 's/^version = "\(.*\)"/\1/p' Cargo.toml | head -n 1)
    printf '%s-%s' "$version" "$(find Cargo.toml Cargo.lock Containerfile lib bins web -type f -not -name '*.snap.new' -print0 \
        | LC_ALL=C sort -z | xargs -0 sha256sum | sha256sum | cut -c1-12)"
    [ "$profile" = release ] || printf -- '-%s' "$profile"
}

# An overlay of k3s/overlays by its name.
overlay_folder() {
    [ -f "k3s/overlays/$1/kustomization.yaml" ] \
        || fail "There is no overlay $1. There are: $(cd k3s/overlays && echo *)."
    printf 'k3s/overlays/%s' "$1"
}

# The pods' programs that keep running, as kubectl names them, of the objects of the namespace.
running_workloads() { kubectl --namespace "$NAMESPACE" get statefulsets,deployments --output name; }

# Runs one of the operator's commands in the cluster, as the backup's job runs its own: same image, same account, same token,
# other arguments. Shows what it says, and ends as it ends.
operator_job() {
    local name=$1 job
    shift
    job="operator-$name-$(date -u +%Y%m%d-%H%M%S)"
    if [ "$DRY_RUN" = yes ]; then
        say "would run, as the job $job: boxoffice $*"
        return
    fi
    command -v jq >/dev/null || install_packages jq || fail "jq is missing. Install it (Debian: apt-get install jq) and run this again."
    kubectl --namespace "$NAMESPACE" create job "$job" --from cronjob/backup --dry-run=client --output json \
        | jq '.spec.backoffLimit = 0 | .spec.ttlSecondsAfterFinished = 3600 | del(.spec.template.spec.initContainers)
            | .spec.template.spec.containers[0].args = $arguments' --argjson arguments "$(json_list "$@")" \
        | kubectl --namespace "$NAMESPACE" apply --filename - >/dev/null
    finish_job "$job"
}

# Words as a JSON list. (jq would take those that begin with dashes for its own.)
json_list() {
    [ $# -gt 0 ] || { printf '[]'; return; }
    printf '%s\n' "$@" | jq --raw-input . | jq --slurp --compact-output .
}

# Waits for a job, shows what it logged, and fails as it fails.
finish_job() {
    local job=$1 state='' waited=0
    while [ -z "$state" ] && [ "$waited" -lt 3600 ]; do
        state=$(kubectl --namespace "$NAMESPACE" get job "$job" \
            --output 'jsonpath={range .status.conditions[?(@.status=="True")]}{.type} {end}' | tr ' ' '\n' | grep -m 1 -E '^(Complete|Failed)$' || true)
        [ -n "$state" ] || { sleep 2; waited=$((waited + 2)); }
    done
    kubectl --namespace "$NAMESPACE" logs "job/$job" --all-containers >&2 || true
    [ "$state" = Complete ] || fail "The job $job has not succeeded (${state:-it still runs}); the lines above say why."
}
