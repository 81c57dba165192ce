//! Where traces go is a setting, as docs/operations.md says: made as one makes it, it reaches every program that has a part in
//! them.

use std::path::Path;

use manifests::{Bundle, check, kustomization};

use crate::tools;

const ENDPOINT: &str = "OTEL_EXPORTER_OTLP_ENDPOINT";
const COLLECTOR: &str = "http://collector.monitoring:4318";

/// Every program that has a part in a trace.
const PROGRAMS: &[&str] = &["auth", "tickets", "orders", "expiration", "payments", "web"];

/// An overlay of somebody's own over the laptop's, with one more setting.
fn with_a_collector(folder: &Path) -> Bundle {
    let folder = folder.canonicalize().expect("the folder is there");
    let laptop = tools::root().join("k3s/overlays/laptop");
    let laptop = laptop.canonicalize().expect("the overlay is there");
    let kustomization = kustomization(&folder, &[&laptop], &[(ENDPOINT, COLLECTOR)]);
    std::fs::write(folder.join("kustomization.yaml"), kustomization).expect("a file can be written");
    Bundle::parse("laptop", &tools::render(&folder), tools::secrets("laptop"))
        .expect("what kustomize renders is YAML")
}

#[test]
fn one_setting_tells_every_program_where_its_traces_go() {
    let folder = testkit::temp_dir();
    let bundle = with_a_collector(folder.path());
    let wrong = check(&bundle, &tools::programs());
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    for program in PROGRAMS {
        let workload = bundle
            .workloads()
            .find(|workload| workload.object.name() == *program)
            .unwrap_or_else(|| panic!("{program} runs"));
        let told = workload.containers().into_iter().find_map(|container| {
            let (_, variable) = container.env().find(|(name, _)| *name == ENDPOINT)?;
            let setting = &variable["valueFrom"]["configMapKeyRef"];
            let map = bundle.find("ConfigMap", setting["name"].as_str()?)?;
            Some(map.value()["data"][setting["key"].as_str()?].clone())
        });
        assert_eq!(told, Some(COLLECTOR.into()), "{program}");
    }
}
