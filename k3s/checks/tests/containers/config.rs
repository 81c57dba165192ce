//! What a container runtime is told for one container of a manifest: the same as the kubelet would tell it.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{PermissionsExt as _, chown};
use std::path::{Path, PathBuf};

use manifests::{Bundle, Container, Workload};
use serde_json::{Value, json};

use crate::image::{Image, json as read_json};

/// The default profile of container runtimes, which Debian's packages bring.
const SECCOMP: &str = "/usr/share/containers/seccomp.json";

/// The values of Secrets, by name and key.
pub(crate) type SecretValues = BTreeMap<(String, String), String>;

/// Everything that is known about the system when a container is to be started.
pub(crate) struct Known<'a> {
    pub(crate) bundle: &'a Bundle,
    pub(crate) secrets: &'a SecretValues,
    /// Volumes live here, beyond their containers.
    pub(crate) volumes: &'a Path,
    /// `/etc/hosts`, in which the Services stand.
    pub(crate) hosts: &'a Path,
    /// The pod's network namespace.
    pub(crate) network: &'a str,
}

/// The runtime's configuration. What it mounts is laid out below `scratch`.
pub(crate) fn of_container(
    known: &Known<'_>,
    workload: Workload<'_>,
    container: Container<'_>,
    image: &Image,
    scratch: &Path,
) -> Value {
    let pod = workload.pod();
    let user = pod["securityContext"]["runAsUser"]
        .as_u64()
        .expect("a pod says as whom it runs");
    let group = pod["securityContext"]["runAsGroup"]
        .as_u64()
        .expect("a pod says as which group it runs");
    let add_groups: Vec<u64> = pod["securityContext"]["fsGroup"].as_u64().into_iter().collect();
    let env = environment(known, workload, container, image);
    json!({
        "ociVersion": "1.0.2",
        "process": {
            "terminal": false,
            "user": { "uid": user, "gid": group, "additionalGids": add_groups },
            "args": arguments(container, image, &env),
            "env": env.iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>(),
            "cwd": image.config["WorkingDir"].as_str().filter(|folder| !folder.is_empty()).unwrap_or("/"),
            "noNewPrivileges": container.at("/securityContext/allowPrivilegeEscalation") == Some(&json!(false)),
            // All of them are dropped, which the static checks see to.
            "capabilities": { "bounding": [], "effective": [], "permitted": [] },
            "rlimits": [{ "type": "RLIMIT_NOFILE", "hard": 16_384, "soft": 16_384 }],
        },
        "root": {
            "path": image.root,
            "readonly": container.at("/securityContext/readOnlyRootFilesystem") == Some(&json!(true)),
        },
        "hostname": workload.object.name(),
        "mounts": mounts(known, workload, container, scratch),
        "linux": {
            "namespaces": [
                { "type": "pid" }, { "type": "ipc" }, { "type": "uts" }, { "type": "mount" },
                { "type": "network", "path": format!("/var/run/netns/{}", known.network) },
            ],
            "resources": {
                "memory": { "limit": bytes(container.at("/resources/limits/memory")) },
                "devices": [{ "allow": false, "access": "rwm" }],
            },
            "seccomp": seccomp(),
            "maskedPaths": ["/proc/kcore", "/proc/keys", "/proc/timer_list", "/sys/firmware"],
            "readonlyPaths": ["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"],
        },
    })
}

/// `512Mi` as bytes.
fn bytes(quantity: Option<&Value>) -> u64 {
    let text = quantity
        .and_then(Value::as_str)
        .expect("a container has a limit of memory");
    let number = |suffix| {
        text.strip_suffix(suffix)
            .map(|number| number.parse::<u64>().expect("a number"))
    };
    if let Some(number) = number("Mi") {
        number << 20
    } else if let Some(number) = number("Gi") {
        number << 30
    } else {
        panic!("{text} is no amount of memory that is used here")
    }
}

/// A pod's settings and Secrets are those of the manifests; a name that leads nowhere fails here as it would there.
fn environment(
    known: &Known<'_>,
    workload: Workload<'_>,
    container: Container<'_>,
    image: &Image,
) -> BTreeMap<String, String> {
    let of_image = image.config["Env"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(Value::as_str);
    let mut env: BTreeMap<String, String> = of_image
        .filter_map(|variable| variable.split_once('='))
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect();
    for (name, variable) in container.env() {
        let from = &variable["valueFrom"];
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let value = if let Some(value) = variable["value"].as_str() {
            value.to_owned()
        } else if from["configMapKeyRef"].is_object() {
            let (map, key) = (
                text(&from["configMapKeyRef"]["name"]),
                text(&from["configMapKeyRef"]["key"]),
            );
            let map = known
                .bundle
                .find("ConfigMap", &map)
                .unwrap_or_else(|| panic!("{map} exists"));
            let value = &map.value()["data"][&key];
            if value.is_null() && from["configMapKeyRef"]["optional"] == true {
                continue;
            }
            assert!(value.is_string(), "{} has {key}", map.title());
            text(value)
        } else if from["secretKeyRef"].is_object() {
            let key = (
                text(&from["secretKeyRef"]["name"]),
                text(&from["secretKeyRef"]["key"]),
            );
            match known.secrets.get(&key) {
                Some(value) => value.clone(),
                None if from["secretKeyRef"]["optional"] == true => continue,
                None => panic!("{key:?} exists"),
            }
        } else if from["fieldRef"]["fieldPath"] == "metadata.name" {
            format!("{}-0", workload.object.name())
        } else {
            panic!("{name} comes from somewhere that this test does not know")
        };
        env.insert(name.to_owned(), value);
    }
    env
}

fn arguments(container: Container<'_>, image: &Image, env: &BTreeMap<String, String>) -> Vec<String> {
    let words = |value: Option<&Value>| -> Vec<String> {
        let words = value.and_then(Value::as_array).into_iter().flatten();
        words.filter_map(Value::as_str).map(str::to_owned).collect()
    };
    let mut line = words(container.at("/command"));
    if line.is_empty() {
        line = words(image.config.get("Entrypoint"));
    }
    line.extend(words(container.at("/args")));
    for word in &mut line {
        for (name, value) in env {
            *word = word.replace(&format!("$({name})"), value);
        }
    }
    line
}

fn mounts(known: &Known<'_>, workload: Workload<'_>, container: Container<'_>, scratch: &Path) -> Vec<Value> {
    let bind = |from: &Path, to: &str, read_only: bool| {
        let options = if read_only {
            json!(["rbind", "ro"])
        } else {
            json!(["rbind", "rw"])
        };
        json!({ "destination": to, "type": "bind", "source": from, "options": options })
    };
    let mut mounts = vec![
        json!({ "destination": "/proc", "type": "proc", "source": "proc" }),
        json!({ "destination": "/dev", "type": "tmpfs", "source": "tmpfs", "options": ["nosuid", "strictatime", "mode=755", "size=65536k"] }),
        json!({ "destination": "/sys", "type": "sysfs", "source": "sysfs", "options": ["nosuid", "noexec", "nodev", "ro"] }),
        bind(known.hosts, "/etc/hosts", true),
    ];
    let of_container = container.at("/volumeMounts").and_then(Value::as_array);
    for mount in of_container.into_iter().flatten() {
        let name = mount["name"].as_str().expect("a mount names its volume");
        let to = mount["mountPath"].as_str().expect("a mount says where");
        let source = volume(known, workload, name, scratch);
        mounts.push(bind(&source, to, mount["readOnly"] == true));
    }
    mounts
}

/// The folder behind a volume: a claim's, which stays, or one filled from a ConfigMap or a Secret.
fn volume(known: &Known<'_>, workload: Workload<'_>, name: &str, scratch: &Path) -> PathBuf {
    let pod = workload.pod();
    let volumes = pod["volumes"].as_array();
    let Some(volume) = volumes
        .into_iter()
        .flatten()
        .find(|volume| volume["name"] == name)
    else {
        return claim(known, workload, &format!("{name}-{}-0", workload.object.name()));
    };
    if let Some(claimed) = volume["persistentVolumeClaim"]["claimName"].as_str() {
        return claim(known, workload, claimed);
    }
    let folder = scratch.join(name);
    fs::create_dir_all(&folder).expect("a folder can be made");
    let write = |file: &str, text: &str| fs::write(folder.join(file), text).expect("a file can be written");
    if let Some(map) = volume["configMap"]["name"].as_str() {
        let map = known
            .bundle
            .find("ConfigMap", map)
            .unwrap_or_else(|| panic!("{map} exists"));
        for (file, text) in map.value()["data"].as_object().into_iter().flatten() {
            write(file, text.as_str().expect("a ConfigMap holds text"));
        }
    } else {
        let secret = volume["secret"]["secretName"]
            .as_str()
            .expect("a volume is a claim, a ConfigMap or a Secret");
        for item in volume["secret"]["items"].as_array().into_iter().flatten() {
            let (key, file) = (
                item["key"].as_str().unwrap_or_default(),
                item["path"].as_str().unwrap_or_default(),
            );
            write(file, &known.secrets[&(secret.to_owned(), key.to_owned())]);
        }
    }
    folder
}

/// As the kubelet hands a volume to a pod with an `fsGroup`: root's, and the group may write.
fn claim(known: &Known<'_>, workload: Workload<'_>, name: &str) -> PathBuf {
    let folder = known.volumes.join(name);
    if !folder.exists() {
        fs::create_dir_all(&folder).expect("a folder can be made");
        let group = workload.pod()["securityContext"]["fsGroup"]
            .as_u64()
            .expect("a pod with a volume has an fsGroup");
        let group = u32::try_from(group).expect("a group's number");
        chown(&folder, Some(0), Some(group)).expect("root may give a folder away");
        fs::set_permissions(&folder, fs::Permissions::from_mode(0o2775)).expect("root may change a mode");
    }
    folder
}

/// `RuntimeDefault`: the rules of the default profile that hold for a process without capabilities on this machine.
fn seccomp() -> Value {
    let profile = read_json(Path::new(SECCOMP));
    let of_this_machine = |rule: &&Value| {
        let includes = &rule["includes"];
        let needs_capability = includes["caps"].as_array().is_some_and(|caps| !caps.is_empty());
        let machines = includes["arches"].as_array();
        !needs_capability
            && machines.is_none_or(|machines| machines.is_empty() || machines.contains(&json!("amd64")))
    };
    let rules: Vec<Value> = profile["syscalls"]
        .as_array()
        .expect("a profile has rules")
        .iter()
        .filter(of_this_machine)
        .map(|rule| {
            let mut kept = json!({ "names": rule["names"], "action": rule["action"] });
            if rule["args"].as_array().is_some_and(|args| !args.is_empty()) {
                kept["args"] = rule["args"].clone();
            }
            if !rule["errnoRet"].is_null() {
                kept["errnoRet"] = rule["errnoRet"].clone();
            }
            kept
        })
        .collect();
    json!({
        "defaultAction": profile["defaultAction"],
        "defaultErrnoRet": profile["defaultErrnoRet"],
        "architectures": ["SCMP_ARCH_X86_64", "SCMP_ARCH_X86", "SCMP_ARCH_X32"],
        "syscalls": rules,
    })
}
