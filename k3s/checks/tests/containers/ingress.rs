//! The ingress controller: nginx, set up from the rules of the Ingress and the Services behind it.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;
use std::process::{Child, Command};

use manifests::{Bundle, Workload};
use serde_json::Value;

use crate::network::Network;

/// What the network policies call it.
pub(crate) const CONTROLLER: &str = "the ingress controller";

/// A running nginx.
pub(crate) struct Ingress(Child);

/// The pod behind a Service, by the Service's selector.
pub(crate) fn pod_of_service<'a>(bundle: &'a Bundle, service: &str) -> Workload<'a> {
    let service = bundle
        .find("Service", service)
        .unwrap_or_else(|| panic!("the Service {service} exists"));
    let selector = &service.value()["spec"]["selector"]["app.kubernetes.io/name"];
    let takes = |workload: &Workload<'_>| {
        workload.object.value()["spec"]["template"]["metadata"]["labels"]["app.kubernetes.io/name"]
            == *selector
    };
    bundle.workloads().find(takes).expect("a Service selects a pod")
}

/// One server of nginx's, with a location for each path.
fn configuration(bundle: &Bundle, network: &Network, folder: &Path) -> String {
    let mut locations = String::new();
    let ingress = bundle.find("Ingress", "boxoffice").expect("there is a way in");
    let rules = ingress.value()["spec"]["rules"]
        .as_array()
        .expect("an Ingress has rules");
    for path in rules
        .iter()
        .flat_map(|rule| rule["http"]["paths"].as_array().expect("a rule has paths"))
    {
        let (prefix, backend) = (
            path["path"].as_str().expect("a path"),
            &path["backend"]["service"],
        );
        let name = backend["name"].as_str().expect("a path leads to a Service");
        let service = bundle.find("Service", name).expect("the Service exists");
        let ports = service.value()["spec"]["ports"]
            .as_array()
            .expect("a Service has ports");
        let port = ports
            .iter()
            .find(|port| port["name"] == backend["port"]["name"])
            .expect("the port exists");
        let upstream = format!(
            "http://{}:{}",
            network.address(pod_of_service(bundle, name).object.name()),
            port["port"].as_u64().expect("a port is a number")
        );
        // `Prefix` is by elements of the path: /api/users is not /api/usersandmore.
        let ways: &[String] = if prefix == "/" {
            &["/".to_owned()]
        } else {
            &[format!("= {prefix}"), format!("{prefix}/")]
        };
        for way in ways {
            writeln!(locations, "location {way} {{ proxy_pass {upstream}; }}").expect("text can grow");
        }
    }
    let folder = folder.display();
    format!(
        "daemon off; user root; worker_processes 1; pid {folder}/pid; error_log {folder}/error.log;\n\
         events {{ worker_connections 256; }}\n\
         http {{ access_log off; client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy;\n\
         fastcgi_temp_path {folder}/fastcgi; uwsgi_temp_path {folder}/uwsgi; scgi_temp_path {folder}/scgi;\n\
         server {{ listen 80; proxy_http_version 1.1; proxy_buffering off; proxy_connect_timeout 2s;\n\
         proxy_set_header Host $http_host; proxy_set_header Connection \"\";\n\
         proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for; proxy_set_header X-Forwarded-Proto http;\n\
         {locations} }} }}\n"
    )
}

impl Ingress {
    /// Starts it in its own place of the network.
    pub(crate) fn start(bundle: &Bundle, network: &Network, folder: &Path) -> Self {
        fs::create_dir_all(folder).expect("a folder can be made");
        let file = folder.join("nginx.conf");
        fs::write(&file, configuration(bundle, network, folder)).expect("a file can be written");
        let nginx = Command::new("ip")
            .args(["netns", "exec", &network.of_pod("ingress"), "nginx", "-p"])
            .arg(folder)
            .arg("-c")
            .arg(&file)
            .spawn()
            .expect("nginx can be run");
        Self(nginx)
    }

    /// Whether it still runs.
    pub(crate) fn runs(&mut self) -> bool {
        matches!(self.0.try_wait(), Ok(None))
    }
}

impl Drop for Ingress {
    fn drop(&mut self) {
        // SIGTERM lets it stop its worker, too; a killed master would leave that behind.
        let pid = self.0.id().to_string();
        if let Err(error) = Command::new("kill")
            .arg(&pid)
            .status()
            .and_then(|_| self.0.wait())
        {
            eprintln!("nginx is left behind: {error}");
        }
    }
}

/// A value of a JSON answer, as text.
pub(crate) fn text<'a>(value: &'a Value, key: &str) -> &'a str {
    value[key]
        .as_str()
        .unwrap_or_else(|| panic!("{key} is missing in {value}"))
}
