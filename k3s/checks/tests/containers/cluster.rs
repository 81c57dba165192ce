//! All pods of the laptop's overlay, each as its manifest says, on one node.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use manifests::{Arrow, Bundle, Container, Secrets, Workload, allowed, kustomization};
use testkit::TempDir;

use crate::collector::Collector;
use crate::command::run;
use crate::config::{Known, SecretValues, of_container};
use crate::image::Image;
use crate::ingress::{CONTROLLER, Ingress};
use crate::network::Network;
use crate::pod::{Place, Pod};

/// How long a pod may take from its start to being ready, on a busy machine.
const READY_MAX: Duration = Duration::from_secs(120);

/// Where the ingress controller is in the network.
const INGRESS: &str = "ingress";

/// Where the collector of traces is in the network, and what the settings say of that.
const COLLECTOR: &str = "collector";
const COLLECTOR_URL: &str = "http://collector.monitoring:4318";

/// The node with everything on it.
pub(crate) struct Cluster {
    pub(crate) bundle: Bundle,
    secrets: SecretValues,
    images: BTreeMap<String, Image>,
    starts: u32,
    /// Who is told of traces.
    pub(crate) collector: Collector,
    // Taken down in this order: what runs, what it ran in, and last the folder in which the runtime knows of it.
    ingress: Option<Ingress>,
    pods: BTreeMap<String, Pod>,
    pub(crate) network: Network,
    folder: TempDir,
}

/// The top of the repository.
pub(crate) fn root() -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.ancestors()
        .nth(2)
        .expect("k3s/checks lies two folders down")
        .to_path_buf()
}

/// The laptop's overlay with the monitoring's beside it, and one setting of its own: where traces go.
fn rendered(folder: &Path) -> String {
    let folder = folder.join("overlay");
    fs::create_dir(&folder).expect("a folder can be made");
    let folder = folder.canonicalize().expect("it is there");
    let overlay = |name: &str| {
        let overlay = root().join("k3s/overlays").join(name).canonicalize();
        overlay.expect("the overlay is there")
    };
    let text = kustomization(
        &folder,
        &[&overlay("laptop"), &overlay("monitoring")],
        &[("OTEL_EXPORTER_OTLP_ENDPOINT", COLLECTOR_URL)],
    );
    fs::write(folder.join("kustomization.yaml"), text).expect("a file can be written");
    let kubectl = std::env::var_os("BOXOFFICE_KUBECTL").unwrap_or("kubectl".into());
    run(Command::new(kubectl).arg("kustomize").arg(folder))
}

/// Whom the policies know by a description has a place in the network, too.
fn place_of(party: String) -> String {
    match party.as_str() {
        CONTROLLER => INGRESS.to_owned(),
        "the collector" => COLLECTOR.to_owned(),
        _ => party,
    }
}

/// Makes Secrets as the script does, from the same list.
fn secret_values(list: &str) -> SecretValues {
    let mut values = SecretValues::new();
    for line in list.lines().filter(|line| !line.starts_with('#')) {
        let words: Vec<&str> = line.split_whitespace().collect();
        let ["all" | "laptop", secret, key, how, rest @ ..] = words.as_slice() else {
            continue;
        };
        let value = match *how {
            "random" => format!(
                "{:064x}",
                u64::from(std::process::id()) * 7_919 + values.len() as u64
            ),
            "text" => {
                let mut text = rest.join(" ");
                for ((of, name), value) in &values {
                    if of == secret {
                        text = text.replace(&format!("{{{name}}}"), value);
                    }
                }
                text
            }
            other => panic!("a laptop's Secret is not made by `{other}`"),
        };
        values.insert(((*secret).to_owned(), (*key).to_owned()), value);
    }
    values
}

impl Cluster {
    /// Lays everything out and starts nothing yet.
    pub(crate) fn new() -> Self {
        let list = fs::read_to_string(root().join("k3s/secrets.txt")).expect("the list of Secrets is there");
        let secrets = Secrets::parse(&list, "laptop").expect("the list of Secrets can be read");
        let folder = testkit::temp_dir();
        // Containers run as somebody else, who must be able to get to their files.
        open_to_all(folder.path());
        let bundle = Bundle::parse("laptop", &rendered(folder.path()), secrets)
            .expect("what kustomize renders is YAML");
        let mut network = Network::new();
        network.add(INGRESS);
        network.add(COLLECTOR);
        let names: Vec<String> = bundle
            .workloads()
            .map(|workload| workload.object.name().to_owned())
            .collect();
        for name in &names {
            network.add(name);
        }
        let arrows: BTreeSet<Arrow> = allowed(&bundle)
            .into_iter()
            .map(|arrow| Arrow {
                from: place_of(arrow.from),
                to: place_of(arrow.to),
                ..arrow
            })
            .collect();
        for name in &names {
            network.enforce(name, &arrows);
        }
        Self {
            secrets: secret_values(&list),
            collector: Collector::start(&network.of_pod(COLLECTOR)),
            folder,
            network,
            images: BTreeMap::new(),
            pods: BTreeMap::new(),
            ingress: None,
            starts: 0,
            bundle,
        }
    }

    /// All that keep running, Redis first.
    pub(crate) fn programs(&self) -> Vec<String> {
        let of_kind = |kind| self.bundle.of_kind(kind).map(|object| object.name().to_owned());
        let mut names: Vec<String> = of_kind("StatefulSet").chain(of_kind("Deployment")).collect();
        names.sort_by_key(|name| name != "redis");
        names
    }

    /// The workload that is called so.
    pub(crate) fn workload(&self, name: &str) -> Workload<'_> {
        self.bundle
            .workloads()
            .find(|workload| workload.object.name() == name)
            .expect("it is in the overlay")
    }

    /// The container of a workload that does its work.
    pub(crate) fn container(&self, name: &str) -> Container<'_> {
        *self
            .workload(name)
            .containers()
            .last()
            .expect("a pod has a container")
    }

    /// Where a pod is.
    pub(crate) fn place(&self, name: &str) -> Place {
        Place {
            node: self.network.node(),
            address: self.network.address(name),
        }
    }

    /// A folder that stays as long as the cluster.
    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Volumes, by the names of their claims.
    pub(crate) fn volumes(&self) -> PathBuf {
        self.folder.path().join("volumes")
    }

    /// Services' names, each with the address of the pod behind it.
    fn write_hosts(&self) -> PathBuf {
        let hosts = self.folder.path().join("hosts");
        let mut text = "127.0.0.1 localhost\n".to_owned();
        for (pod, address) in self.network.addresses() {
            text += &format!("{address} {pod} {pod}.boxoffice.svc.cluster.local {pod}.monitoring\n");
        }
        fs::write(&hosts, text).expect("a file can be written");
        hosts
    }

    /// Starts a pod's container, on its volume if it was there before.
    pub(crate) fn start(&mut self, name: &str) {
        let images = self.folder.path().join("images");
        if !self.images.contains_key(name) {
            let image = match self.container(name).program() {
                Some(program) => Image::of_program(program, &images),
                None => Image::of_redis(&images),
            };
            self.images.insert(name.to_owned(), image);
        }
        self.starts += 1;
        let bundle = self.folder.path().join(format!("bundles/{name}-{}", self.starts));
        fs::create_dir_all(&bundle).expect("a folder can be made");
        let known = Known {
            bundle: &self.bundle,
            secrets: &self.secrets,
            volumes: &self.volumes(),
            hosts: &self.write_hosts(),
            network: &self.network.of_pod(name),
        };
        let (workload, container) = (self.workload(name), self.container(name));
        let config = of_container(&known, workload, container, &self.images[name], &bundle);
        fs::write(bundle.join("config.json"), config.to_string()).expect("a file can be written");
        let id = format!("{}-{}", self.network.of_pod(name), self.starts);
        let pod = Pod::start(&id, &bundle, &self.folder.path().join("runtime"));
        self.pods.insert(name.to_owned(), pod);
    }

    /// A running pod.
    pub(crate) fn pod(&mut self, name: &str) -> &mut Pod {
        self.pods
            .get_mut(name)
            .unwrap_or_else(|| panic!("{name} was started"))
    }

    /// Waits until a pod's startup probe, and then its readiness probe, are content.
    pub(crate) fn await_ready(&mut self, name: &str) {
        let (place, mut pod) = (self.place(name), self.pods.remove(name).expect("it was started"));
        for probe in ["startupProbe", "readinessProbe", "livenessProbe"] {
            pod.await_probe(self.container(name), probe, &place, READY_MAX);
        }
        self.pods.insert(name.to_owned(), pod);
    }

    /// Opens the way in.
    pub(crate) fn open(&mut self) {
        let folder = self.folder.path().join("ingress");
        self.ingress = Some(Ingress::start(&self.bundle, &self.network, &folder));
    }

    /// Where people come in.
    pub(crate) fn ingress(&mut self) -> std::net::Ipv4Addr {
        assert!(
            self.ingress.as_mut().is_some_and(Ingress::runs),
            "nginx has ended"
        );
        self.network.address(INGRESS)
    }
}

fn open_to_all(folder: &Path) {
    use std::os::unix::fs::PermissionsExt as _;
    fs::set_permissions(folder, fs::Permissions::from_mode(0o755)).expect("a folder's mode can be changed");
}

impl Drop for Cluster {
    fn drop(&mut self) {
        if std::thread::panicking() {
            for (name, pod) in &self.pods {
                eprintln!("--- {name}\n{}", pod.log());
            }
        }
    }
}
