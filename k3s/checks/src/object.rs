//! One manifest, and what of it the rules ask for: a thin reading of JSON, not a model of Kubernetes.

use std::collections::BTreeMap;

use serde_json::Value;

/// One object of a rendered set of manifests.
#[derive(Debug, Clone, PartialEq)]
pub struct Object(Value);

/// An object that runs pods, with the path of their template.
#[derive(Debug, Clone, Copy)]
pub struct Workload<'a> {
    /// The object itself.
    pub object: &'a Object,
    template: &'a Value,
}

/// One container of a workload.
#[derive(Debug, Clone, Copy)]
pub struct Container<'a>(&'a Value);

/// Labels, as pods carry them and selectors ask for them.
pub(crate) type Labels = BTreeMap<String, String>;

impl Object {
    /// Takes a parsed document.
    pub fn new(value: Value) -> Self {
        Self(value)
    }

    /// What it is: `Service`, say.
    pub fn kind(&self) -> &str {
        self.text("/kind")
    }

    /// What it is called.
    pub fn name(&self) -> &str {
        self.text("/metadata/name")
    }

    /// `Service orders`, as findings begin.
    pub fn title(&self) -> String {
        format!("{} {}", self.kind(), self.name())
    }

    /// The whole document.
    pub fn value(&self) -> &Value {
        &self.0
    }

    /// The whole document, to be changed.
    pub fn value_mut(&mut self) -> &mut Value {
        &mut self.0
    }

    /// What stands at a JSON pointer, if anything does.
    pub fn at(&self, pointer: &str) -> Option<&Value> {
        self.0.pointer(pointer)
    }

    pub(crate) fn text(&self, pointer: &str) -> &str {
        text_at(&self.0, pointer)
    }

    pub(crate) fn list(&self, pointer: &str) -> &[Value] {
        list_at(&self.0, pointer)
    }

    /// As something that runs pods, if it does.
    pub fn workload(&self) -> Option<Workload<'_>> {
        let template = match self.kind() {
            "Deployment" | "StatefulSet" | "DaemonSet" | "Job" => "/spec/template",
            "CronJob" => "/spec/jobTemplate/spec/template",
            _ => return None,
        };
        let template = self.at(template)?;
        Some(Workload {
            object: self,
            template,
        })
    }
}

impl<'a> Workload<'a> {
    /// The pod's specification.
    pub fn pod(&self) -> &'a Value {
        self.template.pointer("/spec").unwrap_or(&Value::Null)
    }

    /// The labels of its pods.
    pub(crate) fn labels(&self) -> Labels {
        labels_at(self.template, "/metadata/labels")
    }

    /// An annotation of its pods.
    pub(crate) fn annotation(&self, name: &str) -> Option<&'a str> {
        self.template
            .pointer("/metadata/annotations")?
            .get(name)?
            .as_str()
    }

    /// All containers, those that run first among them.
    pub fn containers(&self) -> Vec<Container<'a>> {
        let of = |pointer| list_at(self.pod(), pointer).iter().map(Container);
        of("/initContainers").chain(of("/containers")).collect()
    }

    /// What a container can mount: volumes and claims.
    pub(crate) fn volumes(&self) -> Vec<&'a str> {
        let claims = self.object.list("/spec/volumeClaimTemplates");
        let claims = claims.iter().map(|claim| text_at(claim, "/metadata/name"));
        let volumes = list_at(self.pod(), "/volumes").iter();
        volumes
            .map(|volume| text_at(volume, "/name"))
            .chain(claims)
            .collect()
    }

    /// Whether it keeps something beyond its pods.
    pub(crate) fn keeps_data(&self) -> bool {
        !self.object.list("/spec/volumeClaimTemplates").is_empty()
            || list_at(self.pod(), "/volumes")
                .iter()
                .any(|volume| volume.get("persistentVolumeClaim").is_some())
    }

    /// How many pods it runs.
    pub(crate) fn replicas(&self) -> u64 {
        self.object
            .at("/spec/replicas")
            .and_then(Value::as_u64)
            .unwrap_or(1)
    }

    /// Whether it runs until it is stopped, rather than until it is done.
    pub(crate) fn runs_on(&self) -> bool {
        !matches!(self.object.kind(), "Job" | "CronJob")
    }

    /// The number of a port that is named or numbered so, if a container declares it.
    pub(crate) fn port(&self, wanted: &Value) -> Option<u64> {
        self.containers()
            .into_iter()
            .find_map(|container| container.port(wanted))
    }
}

impl<'a> Container<'a> {
    /// What it is called.
    pub fn name(&self) -> &'a str {
        text_at(self.0, "/name")
    }

    /// Its image, tag and all.
    pub fn image(&self) -> &'a str {
        text_at(self.0, "/image")
    }

    /// Which of our programs it runs: `auth` for the image `…boxoffice/auth:0.1.0`.
    pub fn program(&self) -> Option<&'a str> {
        let (_, ours) = self.image().rsplit_once("boxoffice/")?;
        Some(ours.split([':', '@']).next().unwrap_or(ours))
    }

    /// What stands at a JSON pointer, if anything does.
    pub fn at(&self, pointer: &str) -> Option<&'a Value> {
        self.0.pointer(pointer)
    }

    pub(crate) fn list(&self, pointer: &str) -> &'a [Value] {
        list_at(self.0, pointer)
    }

    /// Its environment: each variable with all that is said of it.
    pub fn env(&self) -> impl Iterator<Item = (&'a str, &'a Value)> {
        self.list("/env")
            .iter()
            .map(|variable| (text_at(variable, "/name"), variable))
    }

    /// The number of a port that is named or numbered so, if it declares it.
    pub(crate) fn port(&self, wanted: &Value) -> Option<u64> {
        let key = if wanted.is_string() {
            "name"
        } else {
            "containerPort"
        };
        let found = self
            .list("/ports")
            .iter()
            .find(|port| port.get(key) == Some(wanted))?;
        found.get("containerPort")?.as_u64()
    }
}

pub(crate) fn text_at<'a>(value: &'a Value, pointer: &str) -> &'a str {
    value.pointer(pointer).and_then(Value::as_str).unwrap_or_default()
}

pub(crate) fn list_at<'a>(value: &'a Value, pointer: &str) -> &'a [Value] {
    value
        .pointer(pointer)
        .and_then(Value::as_array)
        .map_or(&[], Vec::as_slice)
}

pub(crate) fn labels_at(value: &Value, pointer: &str) -> Labels {
    let Some(labels) = value.pointer(pointer).and_then(Value::as_object) else {
        return Labels::new();
    };
    labels
        .iter()
        .filter_map(|(name, value)| Some((name.clone(), value.as_str()?.to_owned())))
        .collect()
}
